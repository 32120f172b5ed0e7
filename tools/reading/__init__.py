"""Values from a customer's words, by well-kept libraries behind one port; it knows no business."""

from tools.reading.reader import Spans, ValueReader, read
from tools.reading.spans import Span

__all__ = ["Span", "Spans", "ValueReader", "read"]
