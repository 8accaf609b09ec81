"""A document in XML, heard part by part: never a tree, no document type, no entity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar
from xml.sax import SAXException  # the error alone: defusedxml parses
from xml.sax.handler import ContentHandler  # the callbacks alone

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from store.errors import InputError

BLOCK = 1 << 16  # bytes parsed at once
MOST_DEPTH = 32  # elements inside each other; a response needs eight
MOST_TEXT = 100  # characters of a time, a value, an identifier


class Walk(ContentHandler):
    """Hears the parts of one document, whose elements are of one namespace; see `parsed`.

    Who inherits says in `begun` what an element means, and which texts it wants; `take` gets them.

    Attributes:
        namespace: Of the elements that have a name.
        leaves: What the wanted texts are, for people.
        heard: How many parts were heard; a tag without end is none.
    """

    namespace: ClassVar[str]
    leaves: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.heard = 0
        self._at: list[str] = []
        self._leaf: tuple[str, ...] | None = None
        self._text: list[str] = []
        self._size = self._most = 0

    def begun(self, attrs: Any) -> None:
        """Hear that the element at `_at` begins."""
        raise NotImplementedError

    def want(self, leaf: tuple[str, ...], most: int = MOST_TEXT) -> None:
        """Let the text of the element that begins be kept as ``leaf``: ``most`` characters."""
        self._leaf, self._text, self._size, self._most = leaf, [], 0, most

    def take(self, leaf: tuple[str, ...], text: str) -> None:
        """Hear a text that was wanted, at the end of its element."""
        raise NotImplementedError

    def ended(self) -> None:
        """Hear that another element, at `_at`, ends."""

    def startElementNS(self, name: Any, qname: Any, attrs: Any) -> None:  # noqa: N802, ARG002
        """Hear that an element begins."""
        self.heard += 1
        if self._leaf is not None:
            raise malformed(f"an element stands inside {self.leaves}")
        if len(self._at) == MOST_DEPTH:
            raise too_deep()
        namespace, local = name
        self._at.append(local if namespace == self.namespace else "")  # of another: no name
        self.begun(attrs)

    def characters(self, content: str) -> None:
        """Hear a piece of text."""
        self.heard += 1
        if self._leaf is None:
            return
        self._text.append(content)
        self._size += len(content)
        if self._size > self._most:
            raise too_long(self._most)

    def endElementNS(self, name: Any, qname: Any) -> None:  # noqa: N802, ARG002
        """Hear that an element ends."""
        self.heard += 1
        if self._leaf is not None:
            self.take(self._leaf, "".join(self._text))
            self._leaf = None
        else:
            self.ended()
        self._at.pop()


def parsed(walk: Walk, blocks: Iterable[bytes]) -> Iterator[None]:
    """Let ``walk`` hear the document; yield after each block and after the end.

    Raises:
        InputError: ``xml_forbidden``, ``text_too_long``, ``damaged_file``, ``wrong_profile``; and
            whatever ``walk`` raises.
    """
    parser: Any = DefusedExpatParser(namespaceHandling=1, forbid_dtd=True)
    parser.setContentHandler(walk)
    try:
        for block in blocks:
            heard = walk.heard
            parser.feed(block)
            if walk.heard == heard and len(block) == BLOCK:
                raise InputError(
                    f"a tag or a comment has {BLOCK >> 10} KiB: this is no response",
                    code="text_too_long",
                )
            yield
        parser.close()
        yield
    except DefusedXmlException:
        raise InputError(
            "a document type or an entity: a response has none, and none is ever read",
            code="xml_forbidden",
        ) from None
    except (SAXException, ValueError, LookupError):
        raise _damaged(walk) from None


def _damaged(walk: Walk) -> InputError:
    if not walk.heard:
        return InputError("not XML: is --profile the right one?", code="wrong_profile")
    return InputError(
        "the file is damaged or cut short: nothing of it was taken; fetch it again",
        code="damaged_file",
    )


def too_deep() -> InputError:
    """Return the error for elements within elements within elements."""
    return InputError("elements are nested too deep for a response", code="too_deep")


def too_long(most: int) -> InputError:
    """Return the error for a text of more than ``most`` characters."""
    return InputError(
        f"a time or a value has more than {most} characters: this is no response",
        code="text_too_long",
    )


def wrong(why: str) -> InputError:
    """Return the error for a document that its profile does not read."""
    return InputError(f"{why}: is --profile the right one?", code="wrong_profile")


def malformed(what: str) -> InputError:
    """Return the error for a response that is none."""
    return InputError(f"{what}: fetch the response again", code="malformed_response")


def two() -> InputError:
    """Return the error for what a file may hold once."""
    return InputError(
        "more than one response, or device, in one file: split it, so that each meter point has "
        "its own",
        code="two_responses",
    )
