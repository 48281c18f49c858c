"""Sheets (XLSX) that companies fill in: from bytes to events or to words about each wrong cell. Pure: no I/O.

``layout`` the pages and their columns · ``archive`` what may be opened at all · ``reading`` from bytes to cells ·
``values`` from a cell to a value · ``checking`` from rows to judged events · ``template`` and ``marking`` what we write.
"""
