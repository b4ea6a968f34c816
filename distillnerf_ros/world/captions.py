"""Many wordings for the things of the world, to train and to ask a text tower with."""

import numpy as np

from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.world.things import Box

CLASS_WORDS: dict[str, tuple[str, ...]] = {
    "others": (
        "others", "other object", "rubbish bin", "trash can", "debris", "dog", "animal",
        "stroller", "shopping cart", "bicycle rack", "street clutter", "garbage",
    ),
    "barrier": (
        "barrier", "road barrier", "jersey barrier", "concrete barrier", "traffic barrier",
        "construction barrier", "plastic barrier", "road block", "barricade",
    ),
    "bicycle": (
        "bicycle", "bike", "cyclist", "push bike", "person riding a bicycle", "parked bike",
        "two-wheeler without a motor", "bicyclist", "cycle",
    ),
    "bus": (
        "bus", "city bus", "coach", "public transport bus", "passenger bus", "double-decker bus",
        "school bus", "long vehicle for passengers",
    ),
    "car": (
        "car", "passenger car", "automobile", "sedan", "hatchback", "SUV", "vehicle", "van",
        "motor car", "delivery van", "taxi",
    ),
    "construction vehicle": (
        "construction vehicle", "excavator", "digger", "bulldozer", "wheel loader",
        "road roller", "construction machine", "crane", "heavy equipment", "earth mover",
        "forklift",
    ),
    "motorcycle": (
        "motorcycle", "motorbike", "scooter", "moped", "motorcyclist",
        "person riding a motorcycle", "parked motorcycle", "two-wheeler with a motor",
    ),
    "pedestrian": (
        "pedestrian", "person", "people", "human", "man", "woman", "somebody walking",
        "person on foot", "child", "walker", "someone on the pavement", "construction worker",
    ),
    "traffic cone": (
        "traffic cone", "cone", "orange cone", "road cone", "pylon", "safety cone",
        "orange and white cone", "traffic drum",
    ),
    "trailer": (
        "trailer", "semi-trailer", "cargo trailer", "container trailer", "truck trailer",
        "tank trailer", "towed trailer", "articulated trailer",
    ),
    "truck": (
        "truck", "lorry", "delivery truck", "box truck", "dump truck", "pickup truck",
        "garbage truck", "cargo truck", "heavy goods vehicle", "flatbed truck",
    ),
    "driveable surface": (
        "driveable surface", "road", "street", "asphalt", "lane", "roadway", "carriageway",
        "road surface", "tarmac", "lane markings", "pedestrian crossing on the road",
    ),
    "other flat": (
        "other flat", "traffic island", "median strip", "paved square", "cobblestones",
        "brick paving", "flat ground", "plaza", "raised median",
    ),
    "sidewalk": (
        "sidewalk", "pavement", "footpath", "walkway", "pedestrian path", "paving slabs",
        "curb and sidewalk", "footway",
    ),
    "terrain": (
        "terrain", "grass", "lawn", "meadow", "soil", "grassy ground", "green verge", "dirt",
        "natural ground", "grassland",
    ),
    "manmade": (
        "manmade", "building", "house", "facade", "wall", "pole", "street light", "fence",
        "traffic sign", "traffic light", "man-made structure", "office building",
        "apartment block", "shop front", "brick wall",
    ),
    "vegetation": (
        "vegetation", "tree", "bush", "hedge", "plant", "leaves", "shrub", "greenery",
        "foliage", "tree trunk",
    ),
}  # fmt: skip
"""Words for each Occ3D class; the first is the class's own name."""

SKY_WORDS: tuple[str, ...] = ("sky", "clouds", "blue sky", "cloudy sky", "evening sky")

_KIND_WORDS: dict[str, tuple[str, ...]] = {
    "sedan": ("sedan", "saloon car", "car", "passenger car", "four-door car"),
    "hatchback": ("hatchback", "small car", "car", "compact car"),
    "SUV": ("SUV", "off-road car", "sport utility vehicle", "car", "big car"),
    "station wagon": ("station wagon", "estate car", "car", "family car"),
    "taxi": ("taxi", "cab", "taxi cab", "car for hire"),
    "delivery van": ("delivery van", "van", "panel van", "white van", "cargo van", "parcel van"),
    "minibus": ("minibus", "van", "passenger van", "minivan", "people carrier"),
    "police car": ("police car", "patrol car", "police vehicle", "cop car"),
    "pickup truck": ("pickup truck", "pickup", "light truck", "truck with an open bed"),
    "box truck": ("box truck", "delivery truck", "lorry", "truck", "moving truck", "cargo truck"),
    "flatbed truck": ("flatbed truck", "truck", "lorry with a load", "truck with an open bed"),
    "dump truck": ("dump truck", "tipper truck", "truck full of gravel", "tipper", "truck"),
    "garbage truck": ("garbage truck", "bin lorry", "refuse truck", "waste collection truck"),
    "truck tractor": ("truck tractor", "semi truck", "tractor unit", "lorry cab", "truck"),
    "box trailer": ("trailer", "semi-trailer", "box trailer", "cargo trailer"),
    "container trailer": ("container trailer", "trailer with a container", "trailer"),
    "tank trailer": ("tank trailer", "tanker", "trailer with a tank", "fuel trailer"),
    "flatbed trailer": ("flatbed trailer", "trailer", "open trailer with crates"),
    "city bus": ("city bus", "bus", "public bus", "transit bus", "commuter bus"),
    "coach": ("coach", "bus", "tour bus", "long-distance bus"),
    "double-decker bus": ("double-decker bus", "double-decker", "two-storey bus", "tall bus"),
    "school bus": ("school bus", "yellow school bus", "bus for school children", "bus"),
    "excavator": ("excavator", "digger", "construction machine", "backhoe", "earth mover"),
    "wheel loader": ("wheel loader", "front loader", "bulldozer", "construction vehicle"),
    "road roller": ("road roller", "steamroller", "roller", "compactor", "construction vehicle"),
    "mobile crane": ("mobile crane", "crane", "crane truck", "construction crane"),
    "forklift": ("forklift", "fork lift truck", "lift truck", "construction vehicle"),
    "child": ("child", "kid", "boy", "girl", "young pedestrian", "small person"),
    "pedestrian": ("pedestrian", "person", "man", "woman", "somebody", "walker", "human"),
    "construction worker": ("construction worker", "worker with a helmet", "workman", "builder",
                            "person in a safety vest"),
    "cyclist": ("cyclist", "person riding a bicycle", "bike rider", "bicyclist", "bicycle",
                "somebody on a bike"),
    "parked bicycle": ("parked bicycle", "bicycle", "bike", "bike without a rider"),
    "motorcycle with a rider": ("motorcyclist", "motorcycle", "biker", "person on a motorcycle"),
    "scooter with a rider": ("scooter rider", "scooter", "moped", "person on a scooter"),
    "parked motorcycle": ("parked motorcycle", "motorbike", "motorcycle", "standing motorbike"),
    "parked scooter": ("parked scooter", "moped", "scooter", "motor scooter"),
    "concrete barrier": ("concrete barrier", "jersey barrier", "barrier", "concrete block"),
    "plastic barrier": ("plastic barrier", "water-filled barrier", "road barrier", "barrier"),
    "striped barrier": ("striped barrier", "construction barrier", "barricade", "barrier"),
    "traffic cone": ("traffic cone", "cone", "orange cone", "pylon", "safety cone"),
    "traffic drum": ("traffic drum", "channeliser", "orange drum", "traffic cone"),
    "street light": ("street light", "lamp post", "street lamp", "light pole"),
    "traffic light": ("traffic light", "traffic signal", "stop light", "signal"),
    "traffic sign": ("traffic sign", "road sign", "street sign", "sign on a pole"),
    "bollard": ("bollard", "post", "short pole"),
    "utility pole": ("utility pole", "telephone pole", "wooden pole", "power pole"),
    "bus stop": ("bus stop", "bus shelter", "waiting shelter"),
    "kiosk": ("kiosk", "booth", "street stall", "small shop"),
    "wall": ("wall", "brick wall", "garden wall"),
    "wooden fence": ("wooden fence", "fence", "board fence"),
    "railing": ("railing", "handrail", "metal fence"),
    "bench": ("bench", "park bench", "seat"),
    "fire hydrant": ("fire hydrant", "hydrant", "red hydrant"),
    "mailbox": ("mailbox", "post box", "letter box"),
    "electrical cabinet": ("electrical cabinet", "switch box", "grey cabinet"),
    "rubbish bin": ("rubbish bin", "trash can", "garbage bin", "wheelie bin", "dustbin"),
    "pile of rubbish bags": ("pile of rubbish bags", "garbage bags", "trash on the pavement",
                             "debris"),
    "stroller": ("stroller", "pram", "baby carriage", "pushchair"),
    "bicycle rack": ("bicycle rack", "bike rack", "bike stand"),
    "dog": ("dog", "animal", "pet dog"),
    "shopping cart": ("shopping cart", "trolley", "shopping trolley"),
    "tree": ("tree", "street tree", "leafy tree", "broad-leaved tree"),
    "conifer": ("conifer", "fir tree", "pine tree", "evergreen tree"),
    "palm tree": ("palm tree", "palm", "tropical tree"),
    "bush": ("bush", "shrub", "green bush"),
    "hedge": ("hedge", "clipped hedge", "hedgerow", "green hedge"),
    "house": ("house", "home", "family house", "building with a pitched roof"),
    "apartment block": ("apartment block", "apartment building", "building", "block of flats"),
    "office tower": ("office tower", "high-rise building", "tall building", "skyscraper"),
    "parking garage": ("parking garage", "car park", "multi-storey car park", "parking deck"),
    "warehouse": ("warehouse", "hall", "store", "industrial building"),
}  # fmt: skip

_FRAMES: tuple[str, ...] = (
    "{}", "{}", "{}", "a photo of {}", "a picture of {}", "there is {}", "{} in the street",
    "{} on the road side", "{} seen from a car", "a view of {}", "an image with {}",
)  # fmt: skip

_PERSON_DOING: dict[bool, tuple[str, ...]] = {
    True: ("walking", "crossing the street", "on the move", "walking along the pavement"),
    False: ("standing", "waiting", "standing still", "standing at the road side"),
}
_VEHICLE_DOING: dict[bool, tuple[str, ...]] = {
    True: ("driving", "in traffic", "on the road", "in motion"),
    False: ("parked", "standing still", "parked at the kerb", "waiting"),
}
_VEHICLES = frozenset({"bus", "car", "trailer", "truck", "construction vehicle"})


def with_article(words: str) -> str:
    """Put "a" or "an" before a noun phrase."""
    return f"{'an' if words[0].lower() in 'aeio' else 'a'} {words}"


def caption_class(class_name: str, rng: np.random.Generator) -> str:
    """One of many wordings for an Occ3D class name (or "sky").

    Raises:
        KeyError: the class is unknown.
    """
    words = SKY_WORDS if class_name == "sky" else CLASS_WORDS[class_name]
    chosen = str(words[0] if rng.random() < 0.35 else rng.choice(words))
    if rng.random() < 0.3:
        return chosen
    bare = class_name in ("sky", "others", "vegetation", "terrain", "manmade", "other flat")
    phrase = chosen if bare or rng.random() < 0.25 else with_article(chosen)
    return str(rng.choice(_FRAMES)).format(phrase)


def caption(box: Box, rng: np.random.Generator) -> str:
    """One of many wordings for an object: its kind or class, maybe its colour and what it does."""
    class_name = OCC3D_CLASSES[box.class_id]
    if rng.random() < 0.4:
        return caption_class(class_name, rng)
    base = box.kind.split(" with a ")[0] if box.kind not in _KIND_WORDS else box.kind
    words = str(rng.choice(_KIND_WORDS.get(base, (box.kind,))))
    if box.kind not in _KIND_WORDS and rng.random() < 0.6:
        words = box.kind
    if box.color and box.color not in words and rng.random() < 0.5 and class_name != "pedestrian":
        words = f"{box.color} {words}"
    phrase = with_article(words) if not words.startswith("somebody") else words
    if class_name == "pedestrian" and box.color and rng.random() < 0.3:
        phrase = f"{phrase} in {box.color}"
    if rng.random() < 0.3:
        fast = float(np.hypot(*box.velocity_mps)) > 0.3
        doing = _PERSON_DOING if class_name == "pedestrian" else _VEHICLE_DOING
        if class_name == "pedestrian" or class_name in _VEHICLES:
            phrase = f"{phrase} {rng.choice(doing[fast])}"
    return str(rng.choice(_FRAMES)).format(phrase)
