"""Rules of the utilities service: pure, no I/O.

``registry`` who serves where · ``judging`` what may be pushed · ``registers`` and ``installations``, ``presence`` how
events merge · ``snapshots`` what is told of the state.
"""
