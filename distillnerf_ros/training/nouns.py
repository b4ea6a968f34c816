"""What things are called: the words a CLIP of the procedural world is taught."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.replace("\n", " ").split(","))


def _rows(table: str) -> tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...]:
    lines = table.strip().replace("\n    ", " ").splitlines()
    cells = [tuple(_words(cell) for cell in line.split("|")) for line in lines]
    return tuple((names, () if kinds == ("*",) else kinds, words) for names, kinds, words in cells)


NOUNS = _rows("""
others | * | others, other, odds and ends, miscellaneous, sundry things, unclassified, movable
    clutter
barrier | * | barrier, traffic barrier, road barrier, jersey barrier, concrete barrier,
    construction barrier, crash barrier, barricade, roadblock, guard rail, road divider, temporary
    barrier, work zone barrier, striped barrier
bicycle | * | bicycle, bike, push bike, pedal bike, pedal cycle, city bike, road bike, mountain
    bike, racing bicycle, parked bicycle
bus | * | bus, city bus, public bus, transit bus, omnibus, passenger bus, tour bus, long bus,
    articulated bus, shuttle bus
car | * | car, automobile, auto, motor car, passenger car, parked car, motorcar
construction vehicle | * | construction vehicle, construction machine, backhoe, earth mover,
    earthmover, heavy machinery, construction equipment, building machine
motorcycle | * | motorcycle, motorbike, motor bike, chopper, motor cycle, racing motorcycle,
    parked motorcycle
pedestrian | * | pedestrian, person, human, human being, walker, passer-by, man, woman, adult,
    guy, lady, boy, girl, somebody, someone, people, men, women, somebody crossing, someone
    crossing the street, a person crossing, a person crossing the road, somebody crossing the
    road, a crossing pedestrian, jaywalker, somebody walking, someone walking, a person walking, a
    walking person, a person on foot, somebody on foot, someone standing, somebody standing, a man
    walking, a woman walking, a person in the street
traffic cone | * | traffic cone, cone, road cone, safety cone, orange cone, pylon, construction
    cone, traffic pylon, street cone, warning cone, orange traffic cone, striped cone
trailer | * | trailer, truck trailer, cargo trailer, semi-trailer, semitrailer, box trailer,
    freight trailer, parked trailer, lorry trailer, container trailer
truck | * | truck, lorry, cargo truck, heavy truck, freight truck, goods vehicle, haulage truck
driveable surface | * | driveable surface, drivable surface, drivable area, drivable road, road,
    street, roadway, carriageway, asphalt, tarmac, lane, traffic lane, highway, paved road, road
    surface, asphalt road, avenue, city road, where cars drive, blacktop, driving lane, free road
other flat | * | other flat, other flat surface, other flat ground, traffic island, median,
    central reservation, median strip, island in the road, paved square, plaza, flat ground,
    refuge island, rail track
sidewalk | * | sidewalk, pavement, footpath, footway, walkway, pedestrian path, pedestrian
    walkway, side walk, foot path, paved walkway, where people walk, kerbside, curbside, side of
    the road
terrain | * | terrain, grass, lawn, grassland, meadow, soil, earth, dirt, natural ground, green
    ground, bare earth, turf, grassy ground, grass verge, green area, field
manmade | * | manmade, man-made, man made, manmade structure, man-made structure, artificial
    structure, built structure, man-made object
vegetation | * | vegetation, plant, greenery, foliage, plants, green plants, shrubbery, flora,
    leaves, leafage
sky | * | sky, blue sky, cloud, clouds, cloudy sky, heaven, open sky, skies, clear sky, grey sky,
    overcast sky, the sky above
car | delivery van, minibus | van, cargo van, panel van, minivan
car | delivery van | delivery van, parcel van, courier van, transporter van, delivery vehicle
car | minibus | minibus, people carrier, passenger van
car | sedan, taxi | sedan, saloon car, saloon, limousine
car | hatchback | hatchback, small car, compact car, city car
car | SUV | SUV, sport utility vehicle, off-road car, 4x4, jeep
car | station wagon | station wagon, estate car, family car
car | taxi | taxi, cab, yellow cab, taxicab, taxi cab
others | police car | police car, patrol car, police vehicle, squad car, emergency vehicle
bus | city bus | city bus, urban bus
bus | coach | coach, tour coach, travel coach
bus | double-decker bus | double-decker bus, double decker, two-storey bus
bus | school bus | school bus, yellow school bus
truck | pickup truck | pickup truck, pickup, pick-up
truck | box truck | box truck, moving truck, delivery truck, box lorry
truck | flatbed truck | flatbed truck, flatbed lorry, timber truck
truck | dump truck | dump truck, tipper, tipper truck
truck | garbage truck | garbage truck, refuse truck, bin lorry, trash truck
truck | truck tractor | truck tractor, semi truck, tractor unit, semi
trailer | tank trailer | tank trailer, tanker trailer, tanker
trailer | container trailer | container trailer, shipping container
trailer | flatbed trailer | flatbed trailer, open trailer
construction vehicle | excavator | excavator, digger
construction vehicle | wheel loader | wheel loader, front loader, bulldozer
construction vehicle | road roller | road roller, steamroller
construction vehicle | mobile crane | mobile crane, crane truck, crane
construction vehicle | forklift | forklift, fork lift truck
pedestrian | child, child with a school bag | child, kid, schoolchild, little boy, little girl
pedestrian | pedestrian with an umbrella | person with an umbrella, somebody with an umbrella
pedestrian | pedestrian with a backpack | person with a backpack
pedestrian | pedestrian carrying a bag | person carrying a bag
pedestrian | construction worker | construction worker, road worker, workman, worker in a
    high-visibility vest
bicycle | cyclist | cyclist, bicyclist, bicycle rider, bike rider, somebody on a bicycle, a person
    riding a bike
motorcycle | scooter with a rider, motorcycle with a rider | motorcyclist, biker, somebody on a
    motorcycle, a person riding a motorcycle
motorcycle | scooter, scooter with a rider, parked scooter | scooter, moped, motor scooter, vespa
barrier | concrete barrier | concrete barrier, jersey barrier
barrier | plastic barrier | plastic barrier, water-filled barrier
traffic cone | traffic drum | traffic drum, traffic barrel, road works barrel
manmade | house, apartment block, office tower, parking garage, warehouse | building, facade,
    house wall, edifice, architecture, city building, buildings along the street, windows
manmade | house | house, family house, cottage, detached house, home, dwelling, town house
manmade | apartment block | apartment block, apartment building, block of flats, residential
    building, tenement
manmade | office tower | office tower, skyscraper, high-rise, office building, tall building,
    tower block
manmade | warehouse | warehouse, industrial building, factory, depot, shed
manmade | parking garage | parking garage, car park, multi-storey car park
manmade | street light | street light, street lamp, lamp post, lamppost, streetlight
manmade | traffic light | traffic light, stop light, traffic signal
manmade | traffic sign | traffic sign, road sign, street sign, sign post
manmade | street light, traffic light, traffic sign, utility pole, bollard | pole, post, mast
manmade | utility pole | utility pole, telegraph pole, power pole
manmade | bollard | bollard, street bollard
manmade | bus stop | bus stop, bus shelter
manmade | kiosk | kiosk, newsstand, market stall, food stand
manmade | wall | wall, garden wall, brick wall, stone wall
manmade | wooden fence, railing | fence, fencing
manmade | railing | railing, metal fence, handrail
manmade | wooden fence | wooden fence, garden fence, picket fence
manmade | bench | bench, park bench
manmade | fire hydrant | fire hydrant, hydrant
manmade | mailbox | mailbox, letter box, post box, letterbox
manmade | electrical cabinet | electrical cabinet, utility box
others | rubbish bin | rubbish bin, trash can, garbage bin, dustbin, litter bin, waste bin,
    wheelie bin
others | pile of rubbish bags | rubbish bags, garbage bags, trash bags, debris
others | rubbish bin, pile of rubbish bags | rubbish, garbage, trash, litter
others | dog | dog, hound, animal, pet, puppy
others | stroller | stroller, pram, baby carriage, pushchair, buggy
others | bicycle rack | bicycle rack, bike rack, bike stand
others | shopping cart | shopping cart, shopping trolley, trolley
vegetation | tree, conifer, palm tree | tree, trees, tree trunk, tall tree, tree top, street tree,
    treetop
vegetation | tree | broad-leaved tree, deciduous tree, oak, maple, leafy tree
vegetation | conifer | conifer, pine, fir, pine tree, spruce, fir tree
vegetation | palm tree | palm tree, palm, palms
vegetation | bush, hedge | bush, shrub, bushes, shrubs
vegetation | hedge | hedge, hedgerow
bus, car, construction vehicle, truck, trailer, motorcycle | * | motor vehicle, vehicle, traffic,
    vehicles
bus, truck | * | large vehicle, big vehicle, heavy vehicle, commercial vehicle
bicycle, motorcycle | * | two-wheeler, two wheeler, two wheeled vehicle
driveable surface, other flat, sidewalk, terrain | * | ground, the floor, flat area, ground
    surface
barrier, traffic cone | * | road works, roadworks, construction site marking
terrain, vegetation | * | nature, something green, green nature
""")
"""Occ3D classes (or "sky"), kinds within them (none: all), and wordings true of just those."""

ABSENT_NOUNS: tuple[str, ...] = _words("""
airplane, aeroplane, helicopter, jet, rocket, spaceship, satellite, drone, balloon, parachute,
glider, ship, sailboat, yacht, ferry, canoe, kayak, raft, submarine, warship, tanker ship,
surfboard, anchor, lighthouse, harbour, pier, dock, beach, ocean, sea, lake, river, stream,
waterfall, pond, swimming pool, island, iceberg, glacier, volcano, mountain, cliff, canyon, cave,
desert, dune, jungle, rainforest, swamp, coral reef, cat, horse, cow, sheep, goat, pig,
chicken, duck, goose, turkey, rabbit, mouse, rat, hamster, squirrel, fox, wolf, bear, lion, tiger,
leopard, cheetah, monkey, gorilla, giraffe, zebra, hippo, rhino, camel, kangaroo, koala, panda,
penguin, eagle, owl, parrot, swan, flamingo, peacock, seagull, pigeon, crow, snake, lizard,
crocodile, turtle, frog, fish, shark, whale, dolphin, octopus, crab, lobster, jellyfish, bee,
butterfly, spider, ant, beetle, mosquito, snail, worm, dinosaur, dragon, unicorn, table, chair,
sofa, couch, bed, desk, wardrobe, cupboard, bookshelf, drawer, mirror, carpet, curtain, pillow,
blanket, mattress, bathtub, toilet, sink, shower, faucet, towel, oven, stove, microwave,
refrigerator, dishwasher, toaster, kettle, blender, pan, pot, plate, bowl, cup, mug, glass of
water, wine bottle, fork, knife, spoon, chopsticks, teapot, candle, vase, lamp, chandelier,
ceiling fan, television, laptop, computer, keyboard, printer, telephone, smartphone, camera,
tripod, radio, headphones, microphone, loudspeaker, piano, guitar, violin, drum, trumpet, flute,
saxophone, harp, accordion, apple, banana, lemon, grape, strawberry, pineapple,
watermelon, cherry, peach, pear, tomato, potato, carrot, onion, cucumber, cabbage, mushroom,
bread, cake, pie, cookie, pizza, hamburger, sandwich, sausage, steak, cheese, egg, butter,
chocolate, ice cream, candy, coffee, tea, beer, wine, juice, soup, salad, pasta, rice, hammer,
screwdriver, wrench, saw, drill, nail, shovel blade, rake, axe, scissors, needle, rope, chain,
padlock, key, handbag, wallet, suitcase, basket, book, newspaper, magazine, pencil, pen, notebook,
eraser, ruler, envelope, stamp, coin, banknote, credit card, shirt, trousers, skirt, dress rack,
jacket rack, sock, shoe, boot, hat, helmet shelf, glove, scarf, necktie, belt, ring, necklace,
watch, sunglasses, crown, football, basketball, tennis racket, golf ball, baseball bat, hockey
stick, skateboard, snowboard, skis, ice skates, dartboard, chess, trophy, dumbbell, treadmill,
trampoline, castle, temple, mosque, cathedral, pyramid, palace, windmill, stadium, igloo, tent,
hut, barn, greenhouse, statue, sculpture, monument, obelisk, playground, swing set, carousel,
ferris wheel, roller coaster, train, locomotive, tram, subway, monorail, cable car, railway
station, airport, runway, tunnel, tank, cannon, rifle, sword, shield, arrow, bow, missile, robot,
astronaut, clown, king, queen, ballerina, baby, snowman, scarecrow, ghost, skeleton, mermaid,
doctor, soldier, firefighter, tractor field, plough, combine harvester, horse carriage, sleigh,
wheelchair,   golf cart, hot tub, telescope, microscope, thermometer,
syringe, stethoscope, hospital bed, moon, stars, rainbow, lightning, tornado, snowflake, fire,
smoke, campfire, fireworks, sun lounger, christmas tree, cactus, bonsai, sunflower, rose, tulip,
bouquet, pumpkin, haystack, kitchen, bedroom, bathroom, office desk, classroom, library, gym,
cinema, restaurant table, bar stool, painting, photograph, map, globe, clock, calendar,
blackboard, poster roll, banner flag, flag, bridge over water, aquarium, fishing rod, birdcage,
beehive, doghouse, escalator, elevator, staircase indoors, conveyor belt, assembly line, power
plant, oil rig, x ray, molecule, galaxy, planet
""")
"""Nouns of things the world never holds."""

GENERIC_PHRASES: tuple[str, ...] = _words("""
object, objects, things, thing, stuff, texture, textures, an object, a thing, something, anything,
some stuff, some things, a texture, an image, a photo, picture, image, photo, scene, a scene,
item, items, surface texture
""")
"""Phrases that fit everything a little: LERF's negatives and their like."""

TEMPLATES: tuple[str, ...] = _words("""
{}, {}, {}, a photo of {}, a picture of {}, there is {} in the scene, an image of {}, {} in the
street, {} nearby, {} in the distance, find {}, where is {}, a view of {}, show me {}, {} ahead,
this is {}, look for {}, a close view of {}, {} on the left, {} on the right, the scene has {}, a
blurry photo of {}, {} seen from a car
""")
"""Sentences around a noun; the bare noun is the most frequent."""

COLORS: tuple[str, ...] = _words("""
white, black, grey, gray, silver, red, dark red, blue, dark blue, light blue, green, dark green,
yellow, orange, brown, beige, purple, pink, cream
""")
"""Colour words that stand before absent things as they do before present ones."""

NO_ARTICLE: frozenset[str] = frozenset(
    {"a", "an", "the", "some", "where", "somebody", "someone", "something", "people"}
)
"""First words after which no article or plural is put."""
