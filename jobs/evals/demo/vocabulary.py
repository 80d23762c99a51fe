"""Held-out word lists. The training side must share none of them.

Owns: words and values of the held-out suite. Must not know: templates, training.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ACTIONS = _words(
    """
    acquire arrange assemble audit bake broadcast browse calibrate capture certify clone
    collect confirm dispatch donate duplicate edit embroider evacuate examine extend fit forge
    freeze harvest hire insure inspect irrigate launch lease migrate navigate negotiate
    nominate organize overhaul polish postpone prune quote recommend recycle release renew
    repair replace request rescue sanitize seal sketch summon charter sweep trace upgrade
    vaccinate weigh
    """
)

NOUNS = _words(
    """
    acrobat anchor apartment aquarium armor atlas auction avalanche bakery balcony banjo
    barrel basket beehive bicycle binder biscuit bonsai bridge brooch bucket cabin cactus
    canoe canyon caravan castle catalog cello chandelier chimney cinema clarinet compass crane
    curriculum dashboard diploma dome drone easel elevator envelope escalator excavator
    fountain freighter furnace galley glacier glider greenhouse hammock harbor harvester
    helicopter hostel igloo inventory island jacuzzi jigsaw kayak kennel kiosk ladder lantern
    lecture lighthouse locker lottery magazine mansion memo microscope mosaic motel mural
    nursery orchard orchestra oven pagoda pamphlet parade parliament passport pavilion pension
    pier pipeline pottery puppet quarry quilt raft ranch reservoir robot saddle sailboat sauna
    scholarship scooter sculpture seminar shipment shuttle skyscraper sleigh stadium statue
    submarine subway swing tapestry telescope tent tournament tractor tram trampoline
    treadmill trophy tunnel umbrella vault vineyard violinist voucher wardrobe warehouse
    windmill yacht zeppelin
    """
)

ADJECTIVES = _words(
    """
    ancient antique bold brass coastal compact cozy crimson crystal curved elegant floating
    foldable gentle giant glossy hidden hollow indoor jumbo lunar marble mobile modern
    narrowband nautical northern oval padded polar portable purple regional rustic sandy
    scarlet silent solar sturdy tropical turquoise urban velvet vertical violet
    """
)

FIELDS = {
    "text": _words(
        """
        caption headline motto slogan inscription memo nickname subtitle greeting
        """
    ),
    "person": _words(
        """
        chef pilot inspector tenant sponsor curator instructor witness lecturer
        """
    ),
    "place": _words("borough district venue harbour village province landing"),
    "integer": _words(
        """
        capacity copies crew floors headcount laps servings shelves stops visitors
        """
    ),
    "number": _words("altitude density diameter fee purity tolerance voltage wingspan"),
    "date": _words("expiry inauguration renewal checkup handover"),
    "email": _words("billing_mailbox visitor_mailbox reply_mailbox"),
    "code": _words("barcode lot_mark docket permit plate voucher_mark"),
    "enum": _words("finish class cuisine fabric flavour mood tier"),
    "boolean": _words("breakfast swift_lane gift_wrap insurance subtitles lifeguard"),
    "list": _words("attendees colours ingredients spices stopovers toppings"),
    "object": _words("applicant billing consignee dimensions vehicle"),
}

MEMBERS = {
    "text": _words("alias byline surname"),
    "place": _words("county hometown"),
    "integer": _words("axles doors storeys"),
    "code": _words("badge chassis"),
}

CHOICES = (
    ("matte", "satin", "gloss"),
    ("linen", "denim", "suede", "wool"),
    ("lavender", "maroon", "teal"),
    ("platinum", "copper", "titanium"),
    ("thai", "mexican", "greek", "korean"),
    ("cheerful", "gloomy", "calm"),
    ("vanilla", "caramel", "pistachio", "mango"),
    ("novice", "veteran", "champion"),
    ("quarterly", "hourly", "fortnightly"),
    ("oak", "walnut", "maple"),
)

PLACES = _words(
    """
    Reykjavik Tallinn Vilnius Marrakesh Casablanca Osaka Kyoto Hanoi Manila Jakarta Quito
    Montevideo Caracas Calgary Winnipeg Phoenix Portland Memphis Nashville Tucson Bergen
    Aarhus Gdansk Krakow Porto Seville Valencia Bilbao Turin Palermo Zagreb Ljubljana Tirana
    Perth Brisbane Wellington Harare Kampala Accra Dakar Muscat Doha Amman Beirut Tbilisi
    """
)

FIRST_NAMES = _words(
    """
    Agnes Bruno Cecilia Dmitri Esther Farid Gabriela Hamza Ingrid Joaquin Katarina Lorenzo
    Mathilde Nadia Orlando Priya Rasmus Sabrina Tobias Ulrika Valentin Wilma Yusuf Zelda
    """
)

LAST_NAMES = _words(
    """
    Abernathy Bergstrom Castellano Dimitrov Eriksson Fitzgerald Goldberg Hashimoto Ivanova
    Jankowski Kowalczyk Lindqvist Montgomery Nakamura Okafor Petrovic Quintero Rasmussen
    Svensson Takahashi Underwood Vasquez Whitfield Yamamoto Zimmerman
    """
)

TITLE_WORDS = _words(
    """
    autumn breeze velvet thunder ember whisper cobalt meadow dancing feather crooked lantern
    wandering comet frozen orchard hollow anthem rusty gable painted sparrow drifting canyon
    copper dragon midnight parade salty harbour broken clockwork
    """
)

HOSTS = ("northwind.net", "bluefern.org", "quarrybank.com", "lumen.eu")
