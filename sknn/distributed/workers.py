"""The sums over shards, computed by the workers of a Dask cluster.

Each worker has an actor with the training data. The weights are sent with each call, so nothing is
lost with a worker but what it was about to compute, and others compute that.
"""

import asyncio
import time
from concurrent import futures

from .shards import cut, nodes

#: Seconds between two looks at whether a worker that has not answered yet is still there.
_PATIENCE = 2.0
#: What calls to the scheduler and to workers may raise if these do not answer.
_LOST = OSError, RuntimeError, LookupError, asyncio.CancelledError, futures.CancelledError
#: How often a step is tried before it is the step that kills workers.
_ATTEMPTS = 10


class Actor:
    """What is on a worker: the data and the compiled program."""

    def __init__(self, shards):
        from distributed import get_worker

        self._shards = shards.prepared(get_worker().state.nthreads)

    def sums(self, call):
        """Return True and the sums over shards, or False and the exception.

        `call` is a list of the arguments of :meth:`Shards.sums`. An exception that is raised where
        the call was made concerns the connection.
        """
        try:
            return True, self._shards.sums(*call)
        except Exception as error:
            return False, error


class Workers:
    """Computes the sums over shards on the workers of a cluster.

    Parameters
    ----------
    shards : Shards
    client : distributed.Client
    timeout : float
        Seconds to wait for a worker if there is none.
    """

    def __init__(self, shards, client, timeout):
        self._shards, self._client, self._timeout = shards, client, timeout
        self._actors = {}  # by address of the worker: the future of an actor, and the actor

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._release(*self._actors)

    def _release(self, *addresses):
        """Release actors at once: Dask's calls of them are in reference cycles."""
        actors = [self._actors.pop(one)[0] for one in addresses if one in self._actors]
        try:
            self._client.cancel(actors)
        except Exception:  # whatever a lost cluster raises: they are lost, too
            return

    def begin_pass(self):
        """Look for workers that have joined the cluster."""
        self._hire()

    def sums(self, n, step, rates, limits, vector, rows, bound):
        """Return the sums over all `n` shards of a step, by node of their tree.

        The parameters are those of :meth:`Shards.sums`, for all shards. What a lost worker was to
        compute is divided among the others.
        """
        todo, found, attempts = [(0, n)], {}, 0
        while todo:
            attempts += 1
            if attempts > _ATTEMPTS:
                raise RuntimeError(
                    f"A step has been tried {_ATTEMPTS} times, and each time workers were lost "
                    "while they computed it. If it takes more memory than they have, make "
                    "shard_size smaller."
                )
            crew, calls = self._present(), []
            for part in todo:
                ends = cut(*part, min(len(crew), part[1] - part[0]))
                for first, last in zip(ends, ends[1:]):
                    start, end = limits[first], limits[last]
                    own = [limit - start for limit in limits[first : last + 1]]
                    here = {name: array[start:end] for name, array in bound.items()}
                    call = [first, last, n, step, rates, own, vector, rows[start:end], here]
                    address = crew[len(calls) % len(crew)]
                    calls.append((address, call, self._call(address, call)))
            todo = []
            for address, call, future in calls:
                answer = self._answer(address, future)
                if answer is None:
                    self._release(address)
                    todo.append(call[:2])
                else:
                    found |= self._checked(address, call, answer)
                call.clear()  # the weights are not kept by the cycle that the call is in
        return found

    def _call(self, address, call):
        """Call an actor; return the future of its answer, or None if it is lost."""
        try:
            return self._actors[address][1].sums(call)
        except RuntimeError:
            return None

    def _answer(self, address, future):
        """Wait for an answer; return None if the worker is lost."""
        while future is not None:
            try:
                done, answer = future.result(timeout=_PATIENCE)
            except TimeoutError:
                if not self._is_there(address):
                    return None
                continue
            except _LOST:
                self._check_client()
                return None
            if not done:
                raise answer
            return answer
        return None

    def _checked(self, address, call, answer):
        """Return the sums that a worker has sent, by node, if they are what it was asked for."""
        first, last, n, *_, vector, _, _ = call
        wanted = nodes(first, last, n)
        shapes = [(getattr(a, "dtype", None), getattr(a, "shape", None)) for s in answer for a in s]
        if shapes != [(vector.dtype, vector.shape), (float, (2,))] * len(wanted):
            raise RuntimeError(
                f"The worker {address} has sent arrays of other shapes or dtypes than those of the "
                "gradient that it was asked for."
            )
        return dict(zip(wanted, answer, strict=True))

    # --- who is there

    def _check_client(self):
        if self._client.status != "running":
            raise RuntimeError(
                f"The client has lost its connection to the cluster: it is {self._client.status}."
            )

    def _addresses(self):
        """Return the addresses of all workers of the cluster."""
        self._check_client()
        try:
            return list(self._client.nthreads())
        except _LOST as error:
            raise RuntimeError("The cluster's scheduler does not answer any more.") from error

    def _is_there(self, address):
        """Return whether a worker still has its actor."""
        future, _ = self._actors.get(address, (None, None))
        return address in self._addresses() and getattr(future, "status", "") == "finished"

    def _present(self):
        """Return the addresses of workers with an actor; wait for one if there is none."""
        deadline = time.monotonic() + self._timeout
        while not self._actors:
            self._hire()
            if not self._actors and time.monotonic() > deadline:
                raise RuntimeError(f"The cluster has had no worker for {self._timeout:g} seconds.")
            if not self._actors:
                time.sleep(0.05)
        return sorted(self._actors)

    def _hire(self):
        """Send the data to workers that do not have them, and make actors of them.

        Workers that get lost meanwhile are left out.
        """
        from distributed import Actor as Proxy
        from distributed import KilledWorker

        new = [address for address in self._addresses() if address not in self._actors]
        if not new:
            return
        made = {}
        for address in new:
            # one by one: Dask's broadcast never ends if a worker gets lost meanwhile, and a task
            # waits for ever for data that another worker cannot send, or this one cannot read
            try:
                (data,) = self._client.scatter(
                    [self._shards], workers=[address], hash=False, timeout=_PATIENCE
                )
            except _LOST:
                self._check_client()
                continue
            made[address] = self._client.submit(
                Actor, data, actor=True, workers=[address], allow_other_workers=False, pure=False
            )
        while any(future.status == "pending" for future in made.values()):
            time.sleep(0.01)
            there = self._addresses()
            made = {address: future for address, future in made.items() if address in there}
        for address, future in made.items():
            if future.status == "error" and not isinstance(future.exception(), KilledWorker):
                raise future.exception()
            if future.status == "finished":
                with self._client.as_current():
                    self._actors[address] = future, Proxy(Actor, address, future.key)
