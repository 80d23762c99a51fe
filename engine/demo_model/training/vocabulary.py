"""Training word lists. The held-out suite in `jobs/evals/demo` must share none of them.

Owns: curated words, grouped by the part they play in a sentence. Must not know: templates, schemas.
Function words and digits are language, not vocabulary, and may appear on both sides.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ACTIONS = _words(
    """
    get find fetch search list create book order send delete update check calculate convert
    translate play open close start stop set show compare schedule cancel track reserve buy
    sell rent print scan upload download share invite block mute rename merge split sort count
    measure estimate predict plan draw paint cook clean lock unlock charge pay refund transfer
    deposit withdraw subscribe rate review publish archive restore verify submit approve
    reject assign escalate notify remind log monitor deploy build compile install remove
    enable disable tune mix crop resize rotate encode decode compress extract summarize
    classify label rank filter generate simulate solve optimize read write add lookup query
    """
)

NOUNS = _words(
    """
    weather forecast flight hotel ticket table restaurant taxi car train room meeting event
    calendar reminder alarm timer email message contact note file folder document photo video
    song playlist movie book recipe product order invoice payment account balance loan stock
    currency price discount coupon parcel package delivery address route map distance traffic
    parking station airport lamp light door window heater camera sensor printer device battery
    server database backup report chart graph metric budget expense salary tax employee
    customer client vendor supplier contract ticket issue bug task project sprint team user
    password profile website domain certificate network router signal channel podcast article
    blog comment review survey quiz lesson course exam grade student teacher library museum
    park garden plant tree flower animal dog cat horse bird fish farm field crop soil water
    river lake ocean beach mountain trail bike boat ship truck engine tire wheel fuel oil
    metal wood glass stone brick wall roof floor kitchen bathroom bedroom sofa chair desk
    shelf carpet curtain pillow blanket shirt jacket shoe hat ring watch phone laptop tablet
    keyboard monitor speaker guitar piano drum violin concert theater game score match player
    coach league workout diet meal calorie doctor patient clinic appointment prescription
    medicine vaccine allergy symptom disease planet star galaxy rocket satellite molecule
    protein gene cell equation matrix vector triangle circle square angle area volume speed
    mass force energy temperature pressure humidity wind
    """
)

ADJECTIVES = _words(
    """
    new old big small fast slow cheap daily weekly monthly local global public private red
    blue green yellow black white hot cold warm cool bright dark loud quiet soft hard light
    heavy long short wide narrow high low deep fresh dry wet clean smart simple final first
    last next main current recent active open shared secure custom basic premium annual remote
    digital nearby available electric
    """
)

FIELDS = _words(
    """
    name title city country street region location destination origin date day time hour start
    end deadline duration quantity count amount number size width height length depth weight
    price cost rate budget limit threshold level age year month week id code key token tag
    label category type kind mode format language color brand model version status priority
    unit currency email phone url path query keyword topic subject body text content
    description comment author owner sender recipient user guest guests passenger seats rooms
    nights people items members filter order page offset radius distance speed temperature
    angle score rating percent discount tax total balance account department position role
    level style genre artist album song team player opponent season material shape texture
    flavor ingredient notes reason summary source target host port region zone room floor seat
    gate platform
    """
)

TYPED_FIELDS = {
    "date": _words(
        """
        date start_date end_date day due_date birth_date departure_date deadline
        """
    ),
    "time": _words("time start_time end_time hour pickup_time departure_time"),
    "email": _words("email recipient contact_email sender to cc"),
    "person": _words(
        """
        name person author owner guest customer passenger student employee manager
        """
    ),
    "place": _words(
        """
        city location place destination origin town region from_city to_city
        """
    ),
    "url": _words("url link website source_url image_url endpoint"),
    "code": _words(
        """
        id code order_id reference tracking_number serial sku token account_id
        """
    ),
}

CHOICES = _words(
    """
    celsius fahrenheit metric imperial small medium large low normal high urgent asc desc red
    green blue black white economy business first single double suite vegan vegetarian regular
    json csv xml pdf html plain daily weekly monthly yearly draft pending active closed open
    public private internal cash card transfer standard express overnight north south east
    west morning noon evening night left right center rock jazz pop classical easy moderate
    difficult beginner expert male female cat dog rain snow sun gold silver bronze mild spicy
    extra thin thick soft firm manual automatic diesel electric hybrid
    """
)

CITIES = _words(
    """
    Paris London Berlin Madrid Rome Vienna Prague Oslo Dublin Lisbon Athens Tokyo Seoul
    Beijing Delhi Mumbai Cairo Lagos Nairobi Sydney Melbourne Toronto Chicago Boston Seattle
    Denver Dallas Austin Miami Lima Bogota Santiago Havana Moscow Warsaw Budapest Zurich
    Geneva Milan Venice Naples Munich Hamburg Lyon Nice Brussels Amsterdam Stockholm Helsinki
    """
)

FIRST_NAMES = _words(
    """
    Anna Ben Carla David Emma Frank Grace Henry Ivy Jack Kate Leo Maria Noah Olivia Paul Quinn
    Rosa Sam Tina Uma Victor Wendy Xavier Yara Zoe Alice Bob Carol Daniel Ella Felix Gina Hugo
    Iris James Karen Liam Mia Nina Oscar Peter Rachel Simon Thomas Ursula Vera Walter
    """
)

LAST_NAMES = _words(
    """
    Smith Jones Brown Miller Davis Garcia Wilson Moore Taylor Clark Lewis Walker Hall Young
    King Wright Hill Scott Green Adams Baker Nelson Carter Mitchell Roberts Turner Parker
    Evans Edwards Collins Stewart Morris Rogers Reed Cook Morgan Bell Murphy Bailey Cooper
    """
)

DOMAINS = ("example.com", "mail.com", "test.org", "shop.net", "work.io", "post.de", "corp.co")

PLAIN_WORDS = _words(
    """
    about after again all also always any around back because before best better between both
    bring came change come could day did different each end even every few found friend from
    give good great group hand head help here home house idea keep kind know large later learn
    left life like little live made make many mean might more most move much must need never
    night now off often only other over part people place point problem question really right
    said same see seem should side since some soon still story such sure take talk tell than
    them then there these thing think those thought through today together too tomorrow try
    turn under until use very want way well went were when where which while who why will wish
    with without word work world would yesterday yet nothing something someone quick lucky
    happy early late hello thanks sorry maybe perhaps almost enough finally however instead
    quite rather
    """
)

ONSETS = _words(
    """
    b c d f g h j k l m n p r s t v w z br cr dr fl gr pl pr sh st th tr ch
    """
)

VOWELS = _words(
    """
    a e i o u ai ea ee ou oa io
    """
)

CODAS = ("", "", "", "n", "r", "l", "s", "t", "m", "nd", "rt", "ck", "x", "sh")
