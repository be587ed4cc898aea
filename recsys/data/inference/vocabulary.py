"""Names that columns of ratings have in public data sets and in people's exports."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

USER, ITEM, RATING, TIMESTAMP, EVENT, WEIGHT = "user", "item", "rating", "timestamp", "event", "weight"

# Nouns by role; the earlier the likelier, where two columns have names of the same role.
_NOUNS = {
    USER: """
        user uid users usr reviewer customer cust client visitor account member reader listener viewer player student
        learner subscriber shopper buyer consumer person people author profile who patron borrower guest traveler
        traveller annotator rater critic household device cookie login username nickname email session sid
        nutzer benutzer kunde kunden kundennummer kundennr leser hoerer mitglied besucher
        utilisateur usager acheteur lecteur membre visiteur abonne
        usuario cliente lector miembro comprador visitante utente utilizador gebruiker klant
    """,
    ITEM: """
        item iid items movie film asin isbn product prod sku anime artist place business track song book game
        article stockcode course recipe restaurant hotel joke beer wine app video show series episode album playlist
        venue poi gmap location content object offer listing job news story post document doc page url what brand
        manga podcast tvshow goods merchandise material tmdb imdb shop store attraction
        artikel artikelnummer artikelnr produkt ware buch spiel lied titel serie kuenstler
        produit livre jeu chanson morceau titre
        articulo producto pelicula libro juego cancion prodotto articolo produto filme livro artigo
        parent title
    """,
    RATING: """
        rating ratings stars star overall score grade rate rated vote votes mark bookrating note value valuation
        preference opinion points r
        bewertung bewertungen sterne wertung punkte evaluation etoiles
        puntuacion calificacion valoracion estrellas nota voto valutazione stelle avaliacao beoordeling
    """,
    TIMESTAMP: """
        timestamp unixreviewtime unixtime epoch ts time datetime date when created reviewtime reviewed rated occurred
        played purchased ordered visited added updated utc invoicedate checkin day
        zeit datum zeitpunkt zeitstempel uhrzeit tag horodatage temps heure jour fecha hora tiempo marca data ora tijd
    """,
    EVENT: """
        event eventtype action behavior behaviour interaction activity reaction swipe type kind op
        ereignis aktion evenement evento accion acao azione
    """,
    WEIGHT: """
        weight playcount plays count counts listens listencount hours hrs minutes quantity qty clicks views times
        frequency freq scrobbles purchases orders visits duration watchtime streams amount sum total confidence
        gewicht anzahl menge stunden quantite nombre heures cantidad conteo veces horas peso quantita ore
    """,
}
NOUNS = {role: tuple(text.split()) for role, text in _NOUNS.items()}
EVERY_NOUN = frozenset(noun for nouns in NOUNS.values() for noun in nouns)
_IDENTIFIERS = "id ids key code no nr num number nummer numero hash uuid guid ref sha1 identifier"
_NEUTRAL = "the a of at in by on unix my raw is was type name utc ms sec seconds iso gmt local"
_LESS = """
    name names title age gender sex city country state zip zipcode location category categories genre genres year price
    image images avg average mean count counts num total url link description text summary comment helpful index
    old prev previous parent sub rank std min max
"""
_ATTRIBUTES = """
    age gender sex year price zip zipcode postcode lat lon lng latitude longitude height width weightkg size index
    category categories categoryid rank page cost revenue discount tax currency row unnamed level helpful useful
    funny cool helpfulvote verified isread isreviewed transactionid orderid invoiceno alter preis jahr prix edad precio
"""
_EVENT_WEIGHTS = (  # the first whose word is among those of a kind of event
    (0, """
        remove removed delete deleted dislike disliked dislikes unlike unliked unfollow unfollowed unfavorite unsave
        unsubscribe skip skipped return returned refund refunded cancel cancelled canceled hide hidden block blocked
        impression down downvote downvoted negative hate hated reject rejected ignore ignored report reported bad not no
        never false left nope pass passed thumbsdown
    """),
    (10, """
        purchase purchased buy bought order ordered transaction checkout payment sale kauf achat compra acquisto
        subscribe rent borrow
    """),
    (3, """
        cart addtocart basket add wishlist wish favorite favourite fav like liked love loved bookmark save share follow
        download warenkorb panier carrito merkzettel up upvote upvoted positive
    """),
)  # fmt: skip
EVENT_WEIGHTS = tuple((weight, frozenset(text.split())) for weight, text in _EVENT_WEIGHTS)
_USUAL = "view viewed click clicked pv play played listen listened watch watched open opened read visit visited neutral"
EVENT_WORDS = frozenset(_USUAL.split()).union(*(names for _, names in EVENT_WEIGHTS))
EVENT_WORDS -= frozenset(("no", "not", "false", "bad", "left"))  # said of anything
_LIKING = """
    like liked likes love loved favorite favourite favorited fav click clicked purchase purchased buy bought ordered
    converted conversion interested positive recommend recommended upvoted thumbsup thumb thumbs watched played saved
    bookmarked subscribed followed accepted label target feedback reaction interaction
"""
LIKING = frozenset(_LIKING.split())  # in names of columns of yes and no
IDENTIFIERS, NEUTRAL = frozenset(_IDENTIFIERS.split()), frozenset(_NEUTRAL.split())
LESS = frozenset(_LESS.split())  # attributes of a user or item, not what identifies it
ATTRIBUTES = frozenset(_ATTRIBUTES.split())  # of columns without a role, whatever their values look like


def words(name: str) -> list[str]:
    """The words of a column's name: "unixReviewTime" and "unix_review-time" are unix, review, time."""
    for sign, text in (("ß", "ss"), ("ü", "ue"), ("ö", "oe"), ("ä", "ae")):
        name = name.replace(sign, text)
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    plain = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", plain)
    return [word for word in re.split(r"[^a-z0-9]+", plain.lower()) if word]


@lru_cache(maxsize=100_000)
def likeness(name: str, role: str) -> float:
    """How much a column's name speaks for a role, from 0 (not at all) to 100."""
    parts = words(name)
    joined = "".join(parts)
    nouns = NOUNS[role]
    for text in (joined, *(joined.removesuffix(end) for end in ("id", "ids", "no", "nr", "key", "code", "count"))):
        if text in nouns:
            return 100 - 0.1 * nouns.index(text)
    hits = [nouns.index(part) for part in _singular(parts) if part in nouns]
    if not hits:
        return 0
    others = [part for part in _singular(parts) if part not in nouns and part not in IDENTIFIERS | NEUTRAL]
    least = any(part in LESS for part in parts)
    identifies = 10 if any(part in IDENTIFIERS for part in parts) and not least else 0
    return max(1.0, 70 + identifies - 10 * len(others) - 40 * least - 0.1 * min(hits))


def _singular(parts: list[str]) -> list[str]:
    """The words, without the ending of a plural or "id" where only that makes them nouns of a role."""
    return [
        next((text for text in (part, part.removesuffix("s"), part.removesuffix("id")) if text in EVERY_NOUN), part)
        for part in parts
    ]


def is_attribute(name: str) -> bool:
    """Whether a name is that of a column without a role, such as an age or a price."""
    parts = words(name)
    return "".join(parts) in ATTRIBUTES or any(part in ATTRIBUTES for part in parts)


def known_role(name: str) -> str | None:
    """The role that a name surely is of, if any."""
    score, role = max((likeness(name, role), role) for role in NOUNS)
    return role if score >= 60 else None


def event_weight(kind: str) -> int:
    """How much a kind of event says, beside a view's 1; 0 for one that says nothing, or the opposite."""
    found = set(words(kind))
    return next((weight for weight, names in EVENT_WEIGHTS if found & names), 1)


def is_event(kind: str) -> bool:
    """Whether a text is known to say what a person did, such as "add to cart" or "dislike"."""
    return bool(EVENT_WORDS & set(words(kind)))


def is_liking(name: str) -> bool:
    """Whether the name of a column of yes and no asks for what a person wants, as "liked" does."""
    return bool(LIKING & set(words(name)))
