"""Channels of images put together, and taken apart."""

from .frame import RANK, SIZE, SLOT, kernel


@kernel
def insert_channels(t):
    """Write x's channels among those of y. o: x, y, positions, channels, total, offset."""
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width

    def insert_channels(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        length, total = constant(o, 3) * width, constant(o, 4) * width
        for i in range(team[RANK], constant(o, 2) * length, team[SIZE]):
            place = divide(i, length)
            put(y, place * total + constant(o, 5) * width + i - place * length, get(x, i))

    return insert_channels


@kernel
def extract_channels(t):
    """y = some channels of x. o: x, y, positions, channels, total, offset."""
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width

    def extract_channels(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        length, total = constant(o, 3) * width, constant(o, 4) * width
        for i in range(team[RANK], constant(o, 2) * length, team[SIZE]):
            place = divide(i, length)
            put(y, i, get(x, place * total + constant(o, 5) * width + i - place * length))

    return extract_channels
