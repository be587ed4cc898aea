"""Titles as people read them: catalogues file "The Godfather" under G, as "Godfather, The"."""

from __future__ import annotations

import re

ARTICLES = (
    *("The", "A", "An"),
    *("L'", "L’", "Le", "La", "Les", "Un", "Une", "Des"),
    *("Il", "Lo", "I", "Gli", "Uno", "Una"),
    *("El", "Los", "Las", "Unos", "Unas"),
    *("Der", "Die", "Das", "Ein", "Eine"),
    *("De", "Het", "Een", "Den", "Det", "En", "Et", "Ett"),
    *("O", "Os", "As", "Um", "Uma"),
)
# At the end of a title, of one in parentheses, or before these: "City, The (Ville, La) (1995)".
FILED = re.compile(rf"(^|\()((?:a\.k\.a\.|aka) )?([^()]+?), ({'|'.join(ARTICLES)})(?=\)| \(|$)")


def natural_title(title: str) -> str:
    """A title with its article in front: "The Godfather (1972)" for "Godfather, The (1972)"; others as they are."""
    return FILED.sub(_in_front, title) if ", " in title else title


def _in_front(found: re.Match[str]) -> str:
    start, alias, rest, article = found.groups()
    space = "" if article.endswith(("'", "’")) else " "
    return f"{start}{alias or ''}{article}{space}{rest}"
