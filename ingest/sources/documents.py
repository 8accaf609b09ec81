"""A document in XML, heard part by part: never a tree, no document type, no entity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol
from xml.sax import SAXException  # the error alone: defusedxml parses
from xml.sax.handler import ContentHandler  # the callbacks alone

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from store.errors import InputError

BLOCK = 1 << 16  # bytes parsed at once
MOST_DEPTH = 32  # elements inside each other; a response needs eight
MOST_TEXT = 100  # characters of a time, a value, an identifier


class Hearer(Protocol):
    """A handler that counts what it heard; a tag without end is nothing."""

    heard: int


def parsed(walk: Hearer, blocks: Iterable[bytes]) -> Iterator[None]:
    """Let ``walk``, a handler of SAX, hear the document; yield after each block and after the end.

    Raises:
        InputError: ``xml_forbidden``, ``text_too_long``, ``damaged_file``, ``wrong_profile``; and
            whatever ``walk`` raises.
    """
    assert isinstance(walk, ContentHandler)
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


def _damaged(walk: Hearer) -> InputError:
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
