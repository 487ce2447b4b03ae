"""The product that all layers with weights are made of, in register tiles through shared memory.

``C[m, n] = sum over k of A[k, m] B[k, n]``. What A and B are, and where C goes, its caller says by
small functions: so a convolution is a product whose B are the places that windows see, and a
gradient of weights one whose k goes over samples. Each sum is one chain of multiply-adds in the
order of k, whatever the tiles are and whoever computes them.

A group of threads makes a tile of C. It brings `depth` rows of A and B at a time to shared memory,
the next ones while it multiplies; each thread keeps a square of C in its registers. The four rows
from a multiple of four on are stored by one thread, in their order.
"""

from typing import NamedTuple

from numba.core import types

from .frame import PART, PARTS, THREAD


class Side(NamedTuple):
    """One of the two factors.

    ``where(team, frame, o, m)`` returns three int that ``load(team, frame, o, x, y, z, k)`` gets
    for the number at the row k; `along` says that numbers of neighboring k are neighbors in
    memory, rather than those of neighboring m.
    """

    where: object
    load: object
    along: bool = False


def _log(n):
    return n.bit_length() - 1


def _store_all(store, each, half_rows, half_columns):
    """Return what stores a thread's sums.

    It is written out: a loop that the compiler leaves as one would keep the sums out of registers.
    """
    lines = ["def store_all(team, frame, o, sums, row, column, m_extent, n_extent):"]
    for i in range(each):
        m = f"row + {i // 4 * half_rows + i % 4}"
        for h in range(each // 4):
            n, first = f"column + {h * half_columns}", i * each + 4 * h
            four = ", ".join(f"sums[{first + j}]" for j in range(4))
            lines += [f"    if {m} < m_extent and {n} < n_extent:"]
            lines += [f"        store(team, frame, o, {m}, {n}, {four})"]
    scope = {"store": store}
    exec(compile("\n".join(lines), "<store>", "exec"), scope)
    return scope["store_all"]


def product_of_any(t, a, b, store):
    """Return a product for any number of rows: if few, by tiles of few rows and more columns."""
    multiply, narrow = product(t, a, b, store), product(t, a, b, store, tile=t.narrow)
    half = t.tile[0] // 2

    @t.jit
    def product_of_any(team, frame, o, scratch, m_extent, n_extent, k_extent):
        if m_extent <= half:
            narrow(team, frame, o, scratch, m_extent, n_extent, k_extent)
        else:
            multiply(team, frame, o, scratch, m_extent, n_extent, k_extent)

    return product_of_any


def product(t, a, b, store, step=None, tile=None):
    """Return a function that makes a product: ``multiply(team, frame, o, scratch, m, n, k)``.

    The last three are the extents. ``store(team, frame, o, m, n, c0, c1, c2, c3)`` gets four
    neighbors of a row of C; n is a multiple of four. ``step(a, b, c)``, in place of a b + c, is
    what makes a sum of the one before, c; of two zeros it makes c. `tile` is one like the target's.
    """
    rows, columns, each = tile or t.tile
    depth, threads, jit, sync = t.depth, t.threads, t.jit, t.sync
    where_a, load_a, where_b, load_b = map(jit, (a.where, a.load, b.where, b.load))
    along_a, along_b, store = a.along, b.along, jit(store)
    log_rows, log_columns, log_depth = _log(rows), _log(columns), _log(depth)
    loads_a, loads_b = depth * rows // threads, depth * columns // threads
    # four numbers more to a row: neighbors along k then lie in different banks
    stride_a, stride_b = rows + 4, columns + 4
    behind_a, stage = depth * stride_a, depth * (stride_a + stride_b)
    parts, across = each // 4, columns // each
    log_across, half_rows, half_columns = _log(across), rows // parts, columns // parts
    squares, factors, ahead = t.local(each * each), t.local(2 * each), t.local(loads_a + loads_b)
    places = t.local(3 * (loads_a + loads_b), types.int64)
    real, four, step = t.real, t.four, t.fma if step is None else jit(step)

    store_all = jit(_store_all(store, each, half_rows, half_columns))

    @jit
    def split(i, log, along):
        """Return a load's row, and its place in it."""
        if along:
            return i & (depth - 1), i >> log_depth
        return i >> log, i & ((1 << log) - 1)

    @jit
    def multiply(team, frame, o, scratch, m_extent, n_extent, k_extent):
        thread = team[THREAD]
        sums, pair, place, held = squares(), factors(), places(), ahead()
        tiles = (m_extent + rows - 1) >> log_rows
        all_tiles = tiles * ((n_extent + columns - 1) >> log_columns)
        row, column = (thread >> log_across) * 4, (thread & (across - 1)) * 4
        for tile in range(team[PART], all_tiles, team[PARTS]):
            n0 = tile // tiles
            m0, n0 = (tile - n0 * tiles) * rows, n0 * columns
            for e in range(each * each):
                sums[e] = real(0)
            for e in range(loads_a):
                _, m = split(thread + e * threads, log_rows, along_a)
                x, y, z = where_a(team, frame, o, min(m0 + m, m_extent - 1))
                place[3 * e], place[3 * e + 1], place[3 * e + 2] = x, y, z
            for e in range(loads_b):
                _, n = split(thread + e * threads, log_columns, along_b)
                x, y, z = where_b(team, frame, o, min(n0 + n, n_extent - 1))
                i = 3 * (loads_a + e)
                place[i], place[i + 1], place[i + 2] = x, y, z
            base = 0
            sync()  # nobody reads the tile before any more
            for k0 in range(-depth, k_extent, depth):
                last = k0 + depth >= k_extent
                if not last:
                    for e in range(loads_a):
                        k, m = split(thread + e * threads, log_rows, along_a)
                        k += k0 + depth
                        held[e] = real(0)
                        if k < k_extent and m0 + m < m_extent:
                            held[e] = load_a(
                                team, frame, o, place[3 * e], place[3 * e + 1], place[3 * e + 2], k
                            )
                    for e in range(loads_b):
                        k, n = split(thread + e * threads, log_columns, along_b)
                        k += k0 + depth
                        held[loads_a + e] = real(0)
                        if k < k_extent and n0 + n < n_extent:
                            i = 3 * (loads_a + e)
                            held[loads_a + e] = load_b(
                                team, frame, o, place[i], place[i + 1], place[i + 2], k
                            )
                if k0 >= 0:
                    for j in range(depth):
                        for h in range(parts):
                            four(scratch, base + j * stride_a + row + h * half_rows, pair, 4 * h)
                            four(
                                scratch, base + behind_a + j * stride_b + column + h * half_columns,
                                pair, each + 4 * h,
                            )  # fmt: skip
                        for m in range(each):
                            for n in range(each):
                                i = m * each + n
                                sums[i] = step(pair[m], pair[each + n], sums[i])
                    base = stage - base
                if not last:
                    for e in range(loads_a):
                        k, m = split(thread + e * threads, log_rows, along_a)
                        scratch[base + k * stride_a + m] = held[e]
                    for e in range(loads_b):
                        k, n = split(thread + e * threads, log_columns, along_b)
                        scratch[base + behind_a + k * stride_b + n] = held[loads_a + e]
                    sync()
            store_all(team, frame, o, sums, m0 + row, n0 + column, m_extent, n_extent)

    return multiply
