"""NVIDIA's driver: memory, copies, launches, and the order that they come in.

This file alone talks to it. A :class:`Driver` is one GPU with two streams: one in which all
computing goes on, in the order of the calls, and one for copies that may overtake it. Addresses are
plain integers. Calls return before the GPU has done what they ask for, unless they say otherwise;
so an error of a kernel shows in a later call, which names the kernel that was launched last.

Threads may share a driver: their calls take turns. A child of :func:`os.fork` has no share in the
GPU's memory and may not use its parent's drivers, nor make new ones.

Nothing of CUDA is imported before a driver is made.
"""

import ctypes
import os
import threading
import weakref
from contextlib import contextmanager, suppress

import numpy as np

#: The least compute capability: of GPUs that schedule the threads of a warp independently.
_LEAST = 7, 0
#: Errors behind which CUDA does nothing more in a process: illegal addresses, traps and the like.
_LASTING = {700, 702, 710, 714, 715, 716, 717, 718, 719}
#: Errors of a driver that can't read a cubin: bad images, none for the GPU, PTX that is too new.
_UNREADABLE = {200, 209, 218, 222}
_OUT_OF_MEMORY, _NOT_INITIALIZED, _STUB, _NO_DEVICE, _NOT_READY = 2, 3, 34, 100, 600

_INSTALL = "pip install 'sknn[cuda12]' (or 'sknn[cuda13]', for drivers of CUDA 13)"
_FORKED = (
    "CUDA can't be used in a process that was forked from one that had used it. Start processes by "
    "another method: multiprocessing's 'spawn' or 'forkserver', or joblib's 'loky'."
)

#: The process that has initialized CUDA; in its forked children CUDA cannot be used.
_initialized_by = None


class OutOfMemory(MemoryError):
    """The GPU has no room for an array.

    Parameters
    ----------
    n_bytes : int
        As many were asked for.
    free : int
        As many are free, if not all of them side by side.
    """

    def __init__(self, n_bytes, free):
        super().__init__(
            f"The GPU has no room for {n_bytes / 2**20:,.1f} MiB: {free / 2**20:,.1f} MiB are free."
        )
        self.n_bytes, self.free = n_bytes, free


def _packages():
    """Return cuda.bindings' driver, and how kernels are compiled."""
    try:
        from cuda.bindings import driver

        from . import compiling
    except ImportError as error:
        raise ImportError(
            f"Computing on a GPU needs numba-cuda and cuda-core, of which something is missing or "
            f"too old ({error}): {_INSTALL}."
        ) from error
    return driver, compiling


class _Failed(RuntimeError):
    """What the driver was asked for did not work; `code` is its error."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class _Context:
    """The functions of the driver, whose errors are exceptions, and the context of one GPU.

    While it is entered, the context is the thread's own. Somebody else's, such as that of another
    GPU, is so again afterwards.
    """

    def __init__(self, cuda):
        self.cuda, self.handle, self.launched, self._process = cuda, None, None, os.getpid()

    def call(self, name, *arguments):
        """Call a function of the driver; return its result, a tuple where there are several."""
        error, *results = getattr(self.cuda, name)(*arguments)
        if error == 0:
            return tuple(results) if len(results) > 1 else results[0] if results else None
        _, text = self.cuda.cuGetErrorString(error)
        message = f"{name} failed: {error.name}" + (f" ({text.decode()})." if text else ".")
        if self.launched is not None:
            message += f" The last kernel that was launched is {self.launched!r}."
        if error in _LASTING:
            message += " After such an error CUDA can't be used in this process any more."
        raise _Failed(int(error), message)

    def ours(self):
        """Return whether this is the process that the context belongs to."""
        return os.getpid() == self._process

    def __enter__(self):
        if not self.ours():
            raise RuntimeError(_FORKED)
        self.call("cuCtxPushCurrent", self.handle)

    def __exit__(self, *exception):
        self.call("cuCtxPopCurrent")

    def release(self, name, handle):
        """Give back what the driver has made, by its function `name`; a child by fork has nothing.

        Whoever collects garbage may be in any thread, and hold any lock: so this waits for none.
        """
        if self.ours():
            with suppress(_Failed), self:
                self.call(name, handle)


class _Turn:
    """Entered by one thread at a time, to whom the GPU's context belongs meanwhile."""

    def __init__(self, context):
        self._context, self._lock = context, threading.RLock()

    def __enter__(self):
        if not self._context.ours():  # where the lock may be held by a thread that there is not
            raise RuntimeError(_FORKED)
        self._lock.acquire()
        try:
            self._context.__enter__()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *exception):
        try:
            self._context.__exit__()
        finally:
            self._lock.release()


def _initialize(context):
    """Initialize CUDA; return how many GPUs there are, at least one."""
    global _initialized_by
    if _initialized_by not in (None, os.getpid()):
        raise RuntimeError(_FORKED)
    try:
        context.call("cuInit", 0)
        n_gpus = context.call("cuDeviceGetCount")
    except RuntimeError as error:  # not one of the driver's where there is no such library
        code = getattr(error, "code", _STUB)
        if code == _STUB:
            raise RuntimeError(
                "No NVIDIA driver was found (the library libcuda). It comes with the system, or is "
                f"given to a container by its runtime, and can't be installed by pip. ({error})"
            ) from error
        if code == _NOT_INITIALIZED:  # another library has used CUDA before the fork
            raise RuntimeError(_FORKED) from error
        if code != _NO_DEVICE:
            raise
        n_gpus = 0
    if n_gpus == 0:
        raise RuntimeError(
            "There is an NVIDIA driver, but no GPU for it: none is built in, or none is visible "
            "(see the environment variable CUDA_VISIBLE_DEVICES)."
        )
    _initialized_by = os.getpid()
    return n_gpus


class Memory:
    """Some of the GPU's memory, which is freed with this object at the latest.

    Attributes
    ----------
    address, n_bytes : int
    free : callable
        Frees it, the first time.
    """

    def __init__(self, context, address, n_bytes):
        self.address, self.n_bytes = address, n_bytes
        self.free = weakref.finalize(self, context.release, "cuMemFree", address)


class Event:
    """A point in a stream, after all the work enqueued before."""

    def __init__(self, context, turn, stream):
        self._context, self._turn = context, turn
        flags = int(context.cuda.CUevent_flags.CU_EVENT_DISABLE_TIMING)
        self.handle = context.call("cuEventCreate", flags)
        weakref.finalize(self, context.release, "cuEventDestroy", self.handle)
        context.call("cuEventRecord", self.handle, stream)

    @property
    def done(self):
        """Whether the GPU has got there; it is not waited for."""
        try:
            with self._turn:
                self._context.call("cuEventQuery", self.handle)
        except _Failed as error:
            if error.code != _NOT_READY:
                raise
            return False
        return True

    def wait(self):
        """Wait until the GPU has reached it. Other threads can use the driver meanwhile."""
        with self._context:
            self._context.call("cuEventSynchronize", self.handle)


class Graph:
    """A recording of launches, fills and copies, which can be launched repeatedly."""

    def __init__(self, context, turn, stream):
        self._context, self._turn, self._stream = context, turn, stream
        self._handle = self._last = None

    def _instantiate(self, recorded):
        """Take what was recorded."""
        call = self._context.call
        try:
            self._handle = call("cuGraphInstantiate", recorded, 0)
        finally:
            call("cuGraphDestroy", recorded)
        weakref.finalize(self, self._context.release, "cuGraphExecDestroy", self._handle)
        self._last = self._context.launched
        call("cuGraphUpload", self._handle, self._stream)

    def launch(self):
        """Launch everything recorded, in the compute stream."""
        with self._turn:
            self._context.launched = self._last
            self._context.call("cuGraphLaunch", self._handle, self._stream)


class _Kernel:
    """A kernel that is loaded, with a place for its arguments."""

    def __init__(self, function, name, n_arguments):
        self.function, self.name = function, name
        self.shared_bytes = 0  # as many may be asked for at a launch
        self.values = (ctypes.c_int64 * n_arguments)()
        start = ctypes.addressof(self.values)
        self._places = (ctypes.c_void_p * n_arguments)(*range(start, start + 8 * n_arguments, 8))
        self.places = ctypes.addressof(self._places)


class Driver:
    """A GPU.

    Parameters
    ----------
    index : int
        Which one, in CUDA's order.

    Attributes
    ----------
    name : str
    capability : tuple of two int
        Its compute capability.
    multiprocessors : int
    peak : float
        Floating-point operations a second in single precision: 128 multiply-adds a cycle of each
        multiprocessor, at most.
    """

    def __init__(self, index=0):
        cuda, self._compiling = _packages()
        self._context = _Context(cuda)
        self._call, self._kernels = self._context.call, {}
        n_gpus = _initialize(self._context)
        if not 0 <= index < n_gpus:
            raise ValueError(
                f"device: there is no GPU {index}. There are {n_gpus}, with numbers from 0."
            )
        self._device = self._call("cuDeviceGet", index)
        self.name = self._call("cuDeviceGetName", 256, self._device).split(b"\0")[0].decode()
        self.capability = (
            self._attribute("COMPUTE_CAPABILITY_MAJOR"), self._attribute("COMPUTE_CAPABILITY_MINOR")
        )  # fmt: skip
        self.multiprocessors = self._attribute("MULTIPROCESSOR_COUNT")
        self.peak = 2 * 128 * self.multiprocessors * self._attribute("CLOCK_RATE") * 1e3
        if self.capability < _LEAST:
            raise RuntimeError(
                "The GPU {} has compute capability {}.{}, and at least {}.{} is needed.".format(
                    self.name, *self.capability, *_LEAST
                )
            )
        if self._call("cuDriverGetVersion") // 1000 < self._compiling.toolkit()[0]:
            raise RuntimeError(self._too_old())
        self._compiling.architecture(self.capability)  # or an error: the toolkit does not know it
        self._context.handle = self._call("cuDevicePrimaryCtxRetain", self._device)
        self._turn = _Turn(self._context)
        with self._turn:
            # neither waits for the stream that other libraries use by default
            apart = int(cuda.CUstream_flags.CU_STREAM_NON_BLOCKING)
            self._stream = self._call("cuStreamCreate", apart)
            self._copies = self._call("cuStreamCreate", apart)

    def _attribute(self, name):
        """Return what the driver knows of the GPU."""
        attribute = getattr(self._context.cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return self._call("cuDeviceGetAttribute", attribute, self._device)

    def _too_old(self):
        """Return what to do about a driver that is older than the toolkit."""
        have = self._call("cuDriverGetVersion")
        need = "{}.{}".format(*self._compiling.toolkit())
        return (
            f"The NVIDIA driver is too old: it supports CUDA {have // 1000}.{have % 1000 // 10}, "
            f"and kernels are compiled by CUDA {need}. Install a newer driver, or an older toolkit "
            f"by pip: 'sknn[cuda12]' needs a driver of CUDA 12, 'sknn[cuda13]' one of CUDA 13."
        )

    def free_bytes(self):
        """Return how many bytes of the GPU's memory are free."""
        with self._turn:
            return self._call("cuMemGetInfo")[0]

    def allocate(self, n_bytes):
        """Return :class:`Memory`, whose address is a multiple of 256, not written to yet."""
        with self._turn:
            try:
                address = self._call("cuMemAlloc", max(n_bytes, 1))
            except _Failed as error:
                if error.code != _OUT_OF_MEMORY:
                    raise
                raise OutOfMemory(n_bytes, self.free_bytes()) from error
            return Memory(self._context, int(address), n_bytes)

    def fill_zero(self, address, n_bytes):
        """Write zeros, in the compute stream."""
        if n_bytes:
            with self._turn:
                self._call("cuMemsetD8Async", address, 0, n_bytes, self._stream)

    def to_device(self, address, array):
        """Copy an array of the host, in the compute stream; wait until the array may be changed."""
        with self._turn:
            self._to_device(address, array, self._stream)
            self.synchronize()

    def to_device_later(self, address, array):
        """Copy an array of page-locked memory in the copy stream.

        It may not change, nor be used on the GPU, before that is done: see :meth:`copies_wait` and
        :meth:`wait_for_copies`.
        """
        with self._turn:
            self._to_device(address, array, self._copies)

    def _to_device(self, address, array, stream):
        if array.size:
            self._call("cuMemcpyHtoDAsync", address, _address(array), array.nbytes, stream)

    def pinned(self, n_bytes):
        """Return an array of bytes in page-locked memory of the host, freed with its last view."""
        with self._turn:
            try:
                address = int(self._call("cuMemHostAlloc", max(n_bytes, 1), 0))
            except _Failed as error:
                if error.code != _OUT_OF_MEMORY:
                    raise
                raise MemoryError(
                    f"There is no room for {n_bytes / 2**20:,.1f} MiB of page-locked memory."
                ) from error
        memory = (ctypes.c_uint8 * n_bytes).from_address(address)
        weakref.finalize(memory, self._context.release, "cuMemFreeHost", address)
        return np.frombuffer(memory, np.uint8)

    def to_host(self, array, address):
        """Fill an array of the host, and wait for that."""
        if array.size:
            with self._turn:
                where = _address(array)
                self._call("cuMemcpyDtoHAsync", where, address, array.nbytes, self._stream)
                self.synchronize()

    def copy(self, to_address, from_address, n_bytes):
        """Copy within the GPU's memory, in the compute stream."""
        if n_bytes:
            with self._turn:
                self._call("cuMemcpyDtoDAsync", to_address, from_address, n_bytes, self._stream)

    def kernel(self, make, n_arguments, name, threads):
        """Return a kernel, loaded, for :meth:`launch` and :meth:`resident`.

        See :func:`sknn.cuda.compiling.cubin_of` for the arguments. It is kept until the end.
        """
        key = name, n_arguments, threads
        if key not in self._kernels:
            if not self._context.ours():
                raise RuntimeError(_FORKED)
            # by whoever has the compiler's lock, which no one may wait for in his turn
            cubin = self._compiling.cubin_of(make, n_arguments, self.capability, threads, name)
            with self._turn:
                if key not in self._kernels:
                    loaded = self._loaded(cubin, self._compiling.symbol(name))
                    self._kernels[key] = _Kernel(loaded, name, n_arguments)
        return self._kernels[key]

    def _loaded(self, cubin, symbol):
        """Return the function that a cubin holds."""
        try:
            module = self._call("cuModuleLoadData", cubin)
        except _Failed as error:
            if error.code not in _UNREADABLE:
                raise
            raise RuntimeError(self._too_old()) from error
        return self._call("cuModuleGetFunction", module, symbol.encode())

    def _allow(self, kernel, shared_bytes):
        """Allow a kernel as much dynamic shared memory: more than 48 KB must be asked for."""
        if shared_bytes > kernel.shared_bytes:
            attribute = self._context.cuda.CUfunction_attribute
            most = attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._call("cuFuncSetAttribute", kernel.function, most, shared_bytes)
            kernel.shared_bytes = shared_bytes

    def resident(self, kernel, threads, shared_bytes):
        """Return how many thread blocks of a kernel a multiprocessor holds at a time."""
        with self._turn:
            self._allow(kernel, shared_bytes)
            ask = "cuOccupancyMaxActiveBlocksPerMultiprocessor"
            return self._call(ask, kernel.function, threads, shared_bytes)

    def launch(self, kernel, groups, threads, shared_bytes, arguments, cooperative=False):
        """Run a kernel in the compute stream.

        Parameters
        ----------
        kernel : object
            From :meth:`kernel`.
        groups, threads : int
            Thread blocks, and the threads of each.
        shared_bytes : int
            Dynamic shared memory of a thread block.
        arguments : sequence of int
            The driver has read them when this returns.
        cooperative : bool
            Whether all thread blocks run at a time, and may wait for each other: no more than
            :meth:`resident` times the number of multiprocessors.
        """
        with self._turn:
            kernel.values[:] = arguments  # or an error, where their number is another
            self._context.launched = kernel.name
            self._allow(kernel, shared_bytes)
            shape = groups, 1, 1, threads, 1, 1, shared_bytes, self._stream, kernel.places
            if cooperative:
                self._call("cuLaunchCooperativeKernel", kernel.function, *shape)
            else:
                self._call("cuLaunchKernel", kernel.function, *shape, 0)

    @contextmanager
    def capture(self):
        """Record launches, fillings and copies within the GPU's memory into a :class:`Graph`.

        It is what the context manager gives, and can be launched after its end. Other threads wait
        that long.
        """
        graph = Graph(self._context, self._turn, self._stream)
        with self._turn:
            mode = self._context.cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
            self._call("cuStreamBeginCapture", self._stream, mode)
            try:
                yield graph
            except BaseException:
                with suppress(_Failed):  # where that is what the recording has come to
                    self._call("cuGraphDestroy", self._call("cuStreamEndCapture", self._stream))
                raise
            graph._instantiate(self._call("cuStreamEndCapture", self._stream))

    def mark(self):
        """Return an :class:`Event`, after all the work enqueued in the compute stream."""
        with self._turn:
            return Event(self._context, self._turn, self._stream)

    def wait_for_copies(self):
        """Make the compute stream wait for the copies enqueued so far; the host does not wait."""
        with self._turn:
            event = Event(self._context, self._turn, self._copies)
            self._call("cuStreamWaitEvent", self._stream, event.handle, 0)

    def copies_wait(self, event):
        """Make later copies wait for an event; the host does not wait."""
        with self._turn:
            self._call("cuStreamWaitEvent", self._copies, event.handle, 0)

    def synchronize(self):
        """Wait until the compute stream is idle."""
        with self._turn:
            self._call("cuStreamSynchronize", self._stream)


def _address(array):
    """Return the address of an array of the host."""
    if not array.flags.c_contiguous:
        raise ValueError("Only contiguous arrays can be copied.")
    return array.ctypes.data
