"""Names and prices in the simulated Douala: shops, dishes, groceries, parcels, people."""

from random import Random

# Prices in whole XAF. Source: guesses near Douala's street prices; most baskets reach the minimum
# orders of docs/contract.md, 2000 (FOOD) and 5000 (MART), a few need a second portion.
DISHES = {
    "ndole": ("Ndole, plantains", 3000),
    "poulet-dg": ("Poulet DG", 4500),
    "eru": ("Eru, water fufu", 2500),
    "poisson-braise": ("Poisson braise, bobolo", 4000),
    "soya": ("Soya, oignons", 2000),
    "achu": ("Achu, sauce jaune", 2800),
    "koki": ("Koki, manioc", 2200),
    "jus-folere": ("Jus de folere", 1000),
}
GROCERIES = {
    "riz-5kg": ("Riz parfume, 5 kg", 4200),
    "huile-1l": ("Huile vegetale, 1 l", 1600),
    "savon": ("Savon de Marseille", 700),
    "lait": ("Lait en poudre, 400 g", 2600),
    "eau-6": ("Eau minerale, 6 x 1.5 l", 2400),
    "spaghetti": ("Spaghetti, 500 g", 600),
    "cafe": ("Cafe moulu, 250 g", 2300),
    "couches": ("Couches, paquet", 5500),
}
KITCHEN_PREFIXES = (
    "Chez",
    "Maquis",
    "Tournedos",
    "Saveurs de",
    "La Terrasse",
    "Le Palais de",
    "Mama",
)
MARKET_PREFIXES = ("Marche", "Superette", "Alimentation", "Mini-prix")
GIVEN_NAMES = (
    "Aline",
    "Blaise",
    "Carine",
    "Didier",
    "Estelle",
    "Fabrice",
    "Ghislaine",
    "Herve",
    "Irene",
    "Joel",
    "Kevine",
    "Landry",
    "Mireille",
    "Njoya",
    "Odile",
    "Patrice",
    "Rosine",
    "Serge",
    "Tatiana",
    "Ulrich",
    "Viviane",
    "Willy",
    "Yvette",
    "Zacharie",
)
FAMILY_NAMES = (
    "Abanda",
    "Biya",
    "Ekambi",
    "Essomba",
    "Etame",
    "Fotso",
    "Kamga",
    "Manga",
    "Mbarga",
    "Ndongo",
    "Ngassa",
    "Njoh",
    "Priso",
    "Tchatchoua",
    "Wandji",
    "Youmbi",
)
PARCEL_CATEGORIES = ("documents", "clothes", "electronics", "medicine", "spare parts")


def random_person_name(rng: Random) -> str:
    """A random person's name."""
    return f"{rng.choice(GIVEN_NAMES)} {rng.choice(FAMILY_NAMES)}"


def random_phone_number(rng: Random) -> str:
    """A random phone number. Source: Cameroon's numbering plan, +237 6 and eight digits."""
    return f"+2376{rng.randrange(10**8):08d}"


def random_kitchen_name(rng: Random, district: str) -> str:
    """A random restaurant's name."""
    return f"{rng.choice(KITCHEN_PREFIXES)} {rng.choice(GIVEN_NAMES)} ({district})"


def random_market_name(rng: Random, district: str) -> str:
    """A random grocery's name."""
    return f"{rng.choice(MARKET_PREFIXES)} {rng.choice(FAMILY_NAMES)} ({district})"
