"""Images put together, taken apart, moved about."""

from .frame import BLOCK, COUNTED, RANK, SEED, SIZE, SLOT, STEP, kernel


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


def _philox(t):
    """Return the word for Philox 4x32-10: four uint32, as int64, of a counter and a key."""

    @t.jit
    def philox(c0, c1, c2, c3, low, high):
        for _ in range(10):
            p0, p2 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
            c0 = ((p2 >> 32) & 0xFFFFFFFF) ^ c1 ^ low
            c2 = ((p0 >> 32) & 0xFFFFFFFF) ^ c3 ^ high
            c1, c3 = p2 & 0xFFFFFFFF, p0 & 0xFFFFFFFF
            low = (low + 0x9E3779B9) & 0xFFFFFFFF
            high = (high + 0xBB67AE85) & 0xFFFFFFFF
        return c0, c1, c2, c3

    return philox


@kernel
def augment(t):
    """y = each image of x from a random offset on, perhaps mirrored, with zeros around.

    o: x, y, height, width, channels, height and width of y, layer, lowest row and number of rows to
    begin at, the same of columns, whether to flip upside down, whether to mirror. A thread stays
    with a sample: a team has a whole number of threads for each.
    """
    get, put, get_int, divide = t.get, t.put, t.get_int, t.divide
    width, log, real, philox = t.width, t.width.bit_length() - 1, t.real, _philox(t)
    assert t.threads % width == 0

    def augment(team, frame, o, scratch):
        x, y = team[SLOT] + get_int(o, 0), team[SLOT] + get_int(o, 1)
        height, columns, channels = get_int(o, 2), get_int(o, 3), get_int(o, 4)
        out_height, out_columns = get_int(o, 5), get_int(o, 6)
        n, seed = team[RANK] & (width - 1), get_int(frame, SEED)
        step = get_int(frame, COUNTED) + team[STEP]
        a, b, c, d = philox(
            team[BLOCK] * width + n, 0, get_int(o, 7), step & 0xFFFFFFFF, seed & 0xFFFFFFFF,
            (seed >> 32) & 0xFFFFFFFF,
        )  # fmt: skip
        down = get_int(o, 8) + (a * get_int(o, 9) >> 32)
        right = get_int(o, 10) + (b * get_int(o, 11) >> 32)
        flipped = get_int(o, 12) != 0 and c < 0x80000000
        mirrored = get_int(o, 13) != 0 and d < 0x80000000
        end = out_height * out_columns * channels
        for i in range(team[RANK] >> log, end, team[SIZE] >> log):
            place = divide(i, channels)
            out_row = divide(place, out_columns)
            row, column = out_row + down, place - out_row * out_columns + right
            if flipped:
                row = height - 1 - row
            if mirrored:
                column = columns - 1 - column
            value = real(0)
            if 0 <= row < height and 0 <= column < columns:
                value = get(x, ((row * columns + column - place) * channels + i) * width + n)
            put(y, i * width + n, value)

    return augment
