"""The page that the bureau reads (``docs/page.md``): rendered here, complete without scripts, kept live by one small one."""
