"""From a name as a caller writes it to the model that answers.

Routes are looked up in one dictionary without a lock. What changes in the registry reaches them in two ways: at once
through `refresh`, by the worker that made the change, and within `POLL_SECONDS` in every other one. A route is
replaced only after the new model is loaded, so that no call fails or waits in between. Models are loaded without the
lock, and of some names at a time, so that one that takes long holds up no other.
"""

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from serval_registry.errors import NotFound, ServalError, Unavailable
from serval_registry.faults import Outage
from serval_registry.model import Ref, Stage, Version, check_name
from serval_registry.registry import Registry

from serval_server.engine.availability import Availability
from serval_server.engine.catalogue import Catalogue
from serval_server.engine.loaded import LoadedModel

LOG = logging.getLogger(__name__)

POLL_SECONDS = 0.25

# A route is (name, tail): the tail is "", a version number or a stage, as it came.
Route = tuple[str, str]

# Bounds what callers can make grow by asking for many spellings of what exists.
ROUTES_MAX = 100_000

PAGE_SIZE = 1000

_LOADERS = 4


class Router:
    """Routes by (name, tail), kept true to the registry."""

    def __init__(self, registry: Registry, catalogue: Catalogue, availability: Availability) -> None:
        self._registry = registry
        self._catalogue = catalogue
        self._availability = availability
        self._routes: dict[Route, LoadedModel] = {}
        self._changing = threading.Lock()
        self._cursor = registry.changes(None).cursor
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="serval-router", daemon=True)
        self._loaders = ThreadPoolExecutor(_LOADERS, thread_name_prefix="serval-router-load")

    def start(self) -> None:
        """Begin to follow what other processes change."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._loaders.shutdown(wait=False, cancel_futures=True)

    def route_text(self, model: str) -> LoadedModel:
        """Return the model for "name", "name@3" or "name@production"."""
        name, _, tail = model.partition("@")
        return self._routes.get((name, tail)) or self._find(Ref.parse(model), (name, tail))

    def route(self, name: str, tail: str) -> LoadedModel:
        """Return the model for a name and a version number, a stage or nothing."""
        return self._routes.get((name, tail)) or self._find(_checked_ref(name, tail), (name, tail))

    def known(self, name: str, tail: str) -> LoadedModel | None:
        """Return the model for what has been asked for before, or None: never waits."""
        return self._routes.get((name, tail))

    def unrouted(self, models: Iterable[LoadedModel]) -> set[LoadedModel]:
        """Return those of the models that no name leads to."""
        return set(models).difference(list(self._routes.values()))

    def warm(self, refs: Iterable[Ref]) -> None:
        """Load models before anybody asks; one that fails is logged and left for its first call."""
        for _ in self._loaders.map(self._warm_one, refs):
            pass  # it raises what nobody has expected

    def _warm_one(self, ref: Ref) -> None:
        try:
            self.route_text(str(ref))
        except ServalError as error:
            LOG.warning("cannot load %s at start: %s", ref, error)

    def refresh(self, name: str) -> None:
        """Take over what has changed for `name`. What cannot be loaded loses its route until its next call."""
        self._load_what_comes(name)
        with self._changing:
            self._renew(name)

    def unload(self, name: str) -> None:
        """Switch `name` off and drop its models from memory."""
        self._registry.resolve(Ref(name))
        self._availability.unload(name)
        self.refresh(name)

    def load(self, name: str) -> LoadedModel:
        """Switch `name` on and load what a bare name means."""
        self._registry.resolve(Ref(name))
        self._availability.load(name)
        return self.route_text(name)

    def _find(self, ref: Ref, route: Route) -> LoadedModel:
        """Resolve in the registry, which sees what other processes have done, and keep the route."""
        if self._availability.is_unloaded(ref.name):
            raise Unavailable(f"model {ref.name!r} is unloaded; load it to have it answer again")
        version = self._registry.resolve(ref)
        model = self._catalogue.get(version)
        with self._changing:
            # What was resolved a moment ago may have changed since, and the change may have been taken over already.
            if self._registry.resolve(ref).version == version.version and self._catalogue.holds(model):
                if len(self._routes) >= ROUTES_MAX:
                    self._routes.clear()
                self._routes[route] = model
        return model

    def _poll(self) -> None:
        outage = Outage("following the registry's changes")
        while not self._stopped.wait(POLL_SECONDS):
            try:
                self._follow()
            except Exception as error:
                outage.failed(error)
            else:
                outage.answered()

    def _follow(self) -> None:
        changes = self._registry.changes(self._cursor)
        names = set(changes.names) | self._availability.refresh()
        for name in names:
            self._loaders.submit(self._take_over, name)
        self._cursor = changes.cursor
        self._forget_dropped()

    def _take_over(self, name: str) -> None:
        try:
            self.refresh(name)
        except Exception:
            LOG.exception("cannot take over what has changed for %s; it is tried with its next change", name)

    def _load_what_comes(self, name: str) -> None:
        """Load what the routes of a name are to lead to; what fails is told when they are changed."""
        for route in self._routes_of(name):
            if not self._availability.is_unloaded(name):
                with contextlib.suppress(Exception):
                    self._catalogue.get(self._registry.resolve(Ref.of(*route)))

    def _routes_of(self, name: str) -> list[Route]:
        return [route for route in list(self._routes) if route[0] == name]

    def _renew(self, name: str) -> None:
        for route in self._routes_of(name):
            try:
                if self._availability.is_unloaded(name):
                    raise NotFound("unloaded")
                model = self._catalogue.get(self._registry.resolve(Ref.of(*route)))
            except Exception as error:
                self._routes.pop(route, None)
                LOG.info("no route for %s@%s any more: %s", *route, error)
            else:
                self._routes[route] = model
        used = {(model.name, model.number) for model in self._routes.values()}
        self._catalogue.drop(
            (model.name, model.number)
            for model in self._catalogue.loaded()
            if model.name == name and (model.name, model.number) not in used
        )

    def _forget_dropped(self) -> None:
        with self._changing:
            for route, model in list(self._routes.items()):
                if not self._catalogue.holds(model):
                    self._routes.pop(route, None)


def _checked_ref(name: str, tail: str) -> Ref:
    check_name(name, "model_name")
    return Ref.of(name, tail, "model_version")


def every_version(registry: Registry, *, stages: Sequence[Stage] = (), latest_only: bool = False) -> Iterator[Version]:
    """Yield all that the registry lists, page by page."""
    token = ""
    while True:
        page, token = registry.list(stages=stages, latest_only=latest_only, page_size=PAGE_SIZE, page_token=token)
        yield from page
        if not token:
            return
