"""The six lessons of the Inspect tab.

Each has its words in `words` and a module with a function `show(scene)`, which returns the HTML of its figures and
numbers at t; `frame.show` adds the frame around them.
"""
