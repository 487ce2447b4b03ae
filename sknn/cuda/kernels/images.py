"""Channels of images put together, and taken apart."""

from .frame import RANK, SIZE, SLOT, kernel


@kernel
def insert_channels(t):
    """Write x's channels among those of y. o: x, y, positions, channels, total, offset."""
    get, put, get_int, divide, width = t.get, t.put, t.get_int, t.divide, t.width

    def insert_channels(team, frame, o, scratch):
        x, y = team[SLOT] + get_int(o, 0), team[SLOT] + get_int(o, 1)
        length, total = get_int(o, 3) * width, get_int(o, 4) * width
        for i in range(team[RANK], get_int(o, 2) * length, team[SIZE]):
            place = divide(i, length)
            put(y, place * total + get_int(o, 5) * width + i - place * length, get(x, i))

    return insert_channels


@kernel
def extract_channels(t):
    """y = some channels of x. o: x, y, positions, channels, total, offset."""
    get, put, get_int, divide, width = t.get, t.put, t.get_int, t.divide, t.width

    def extract_channels(team, frame, o, scratch):
        x, y = team[SLOT] + get_int(o, 0), team[SLOT] + get_int(o, 1)
        length, total = get_int(o, 3) * width, get_int(o, 4) * width
        for i in range(team[RANK], get_int(o, 2) * length, team[SIZE]):
            place = divide(i, length)
            put(y, i, get(x, place * total + get_int(o, 5) * width + i - place * length))

    return extract_channels
