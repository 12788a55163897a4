"""What a fusion did, as data (facts.py) and as one self-contained HTML page (page.py).

facts.py     what the page and the command line say, taken from a Fused
repeats.py   layers that repeat: one name for many, and which launches recur
placing.py   where the boxes of the graph stand
picture.py   the graph before and after, as SVG
tiles.py     layouts as coloured tiles, as SVG
sections.py  the page's tables
markup.py    text and tags as HTML
page.py      the page as a whole
"""
