"""Synthetic homes that look like real ones: seeded, pure, nobody's.

`homes` gives a few homes whole, with their deliveries; `street` streams any number of them as
meter-days; `facts` says who supplies them and who may read them. The seed governs demo values
only, never a key. Every meter point is of a range of its own (see `homes`).
"""

from ingest.synthetic.days import Span, span
from ingest.synthetic.facts import Story, story
from ingest.synthetic.homes import Home, homes
from ingest.synthetic.streets import street, together

__all__ = ["Home", "Span", "Story", "homes", "span", "story", "street", "together"]
