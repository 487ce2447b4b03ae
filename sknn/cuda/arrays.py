"""Arrays on a GPU: parameters, states and gradients, each contiguous."""

import numpy as np


class Numbers:
    """An array of one dimension on a GPU, or a part of one, which it keeps alive.

    Parameters
    ----------
    driver : Driver
    dtype : dtype
    size : int
    memory : Memory or None
        The memory that contains it; None: memory of its own, filled with zeros.
    first : int
        Offset of its first byte in the memory.
    """

    def __init__(self, driver, dtype, size, memory=None, first=0):
        self.driver, self.dtype, self.size = driver, np.dtype(dtype), size
        if memory is None:
            memory = driver.allocate(self.nbytes)
            driver.fill_zero(memory.address, self.nbytes)
        self._memory, self._first = memory, first

    def __len__(self):
        return self.size

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    @property
    def address(self):
        return self._memory.address + self._first

    def __getitem__(self, part):
        """Return a part of it, as an array that shares its memory."""
        start, stop, step = part.indices(self.size)
        if step != 1:
            raise ValueError("A part of an array on a GPU must be contiguous.")
        first = self._first + start * self.dtype.itemsize
        return Numbers(self.driver, self.dtype, max(stop - start, 0), self._memory, first)

    def read(self):
        """Return a copy of the numbers, on the host."""
        numbers = np.empty(self.size, self.dtype)
        self.driver.to_host(numbers, self.address)
        return numbers

    def write(self, numbers):
        """Overwrite the array by a number, or by an array of the host or of the GPU."""
        if isinstance(numbers, Numbers):
            if numbers.size != self.size:
                raise ValueError(f"{numbers.size} numbers do not go where {self.size} are.")
            self.driver.copy(self.address, numbers.address, self.nbytes)
        elif np.ndim(numbers) == 0 and not numbers:
            self.driver.fill_zero(self.address, self.nbytes)
        else:
            whole = np.broadcast_to(np.asarray(numbers, self.dtype), (self.size,))
            self.driver.to_device(self.address, np.ascontiguousarray(whole))
