"""Read networks.yaml and portfolio.yaml strictly: one clear ConfigError, or a whole portfolio."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from rebalancer.config.networks import Network, Priced
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
PROJECT_ROOT = Path(__file__).resolve().parents[2]
_README = "every key and how its value is written is in the README, under Configuration"


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice: yaml would silently keep the last one."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in keys:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is written twice", key_node.start_mark
            )
        keys.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_networks(path: Path) -> dict[str, Network]:
    """All networks of a networks.yaml, by name."""
    document = _read(
        path, "networks.yaml", "run `rebalancer init` to write one, or correct --networks"
    )
    networks: dict[str, Network] = {}
    for name, body in document.items():
        if not isinstance(body, dict):
            raise ConfigError(f"{path}: {name}: expected the keys of a network", hint=_README)
        network = _validate(Network, {"name": name, **body}, path, str(name))
        networks[str(name)] = network
        for symbol, spec in network.tokens.items():
            _known_sources(path, f"{name}.tokens.{symbol}", spec, network)
        _known_sources(path, f"{name}.native", network.native, network)
        if network.native.wrapped is not None:
            _known(path, f"{name}.native.wrapped", network.native.wrapped, network.tokens)
        _distinct_addresses(path, network)
        for symbol in network.intermediates:
            _known(path, f"{name}.intermediates", symbol, network.tokens)
    return networks


def load_portfolio(path: Path, networks_path: Path | None = None) -> ResolvedPortfolio:
    """The portfolio of a file, resolved against its network.

    networks.yaml is looked for beside the file, in the working folder, and in the project.
    """
    document = _read(path, "a portfolio", "run `rebalancer init` to write one")
    portfolio = _validate(Portfolio, document, path, "")
    networks_path = networks_path or find_networks(path.parent)
    networks = load_networks(networks_path)
    _known(path, "network", portfolio.network, networks)
    if portfolio.numeraire != "USD" and "min_trade" not in portfolio.policy.model_fields_set:
        raise ConfigError(
            f"{path}: policy.min_trade is missing: of {portfolio.numeraire} as numeraire its "
            "default, 100, would be a fortune",
            hint=f"say in {portfolio.numeraire} what is too little to trade",
        )
    try:
        return resolve(portfolio, networks[portfolio.network])
    except ValueError as error:
        raise ConfigError(
            f"{path}: {error}", hint=f"tokens and amms are in {networks_path}"
        ) from None


def _known_sources(path: Path, key: str, priced: Priced, network: Network) -> None:
    """Every feed, AMM and token that the sources of a price name is in the file."""
    if priced.feed:
        _known(path, f"{key}.feed", priced.feed, network.feeds)
        return
    key = f"{key}.price"
    for part in priced.pricing.parts():
        if part.feed is not None:
            _known(path, key, part.feed, network.feeds)
        if part.pool is not None:
            amm, _, symbols = part.pool.partition(":")
            _known(path, key, amm, network.amms)
            for symbol in (symbols.partition("/")[0], symbols.partition("/")[2]):
                _known(path, key, symbol, network.tokens)


def _distinct_addresses(path: Path, network: Network) -> None:
    """Two symbols for one token would count its balance twice."""
    seen: dict[str, str] = {}
    for symbol, spec in network.tokens.items():
        if spec.address in seen:
            text = f"{symbol} has the address of {seen[spec.address]}"
            raise ConfigError(
                f"{path}: {network.name}.tokens.{symbol}: {text}",
                hint="its balance would count twice: correct the address, or take one of them out",
            )
        seen[spec.address] = symbol


def find_networks(beside: Path) -> Path:
    """The networks.yaml that goes with a portfolio in ``beside``."""
    places = [beside / "networks.yaml", Path("networks.yaml"), PROJECT_ROOT / "networks.yaml"]
    for place in places:
        if place.is_file():
            return place
    raise ConfigError(
        f"there is no networks.yaml in {beside.resolve()} or in the working folder",
        hint="run `rebalancer init`, or pass --networks FILE",
    )


def _read(path: Path, what: str, hint: str = "") -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)  # noqa: S506
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ConfigError(
            f"{path} cannot be read: {reason}", hint=f"name {what}: a text file in YAML"
        ) from None
    except (TypeError, RecursionError):
        # A key that is a list, or brackets without end.
        raise ConfigError(f"{path}: expected plain keys and values", hint=_README) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(
            f"{path}{where}: {problem}", hint="it is YAML: look at indents, colons and quotes there"
        ) from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is not {what}: expected keys and values", hint=_README)
    return document


def _validate(model: type[Model], data: Any, path: Path, prefix: str) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
        # An unknown key is often the cause of the other findings, so it is told first.
        errors.sort(key=lambda e: e["type"] != "extra_forbidden")
        text = _explain(model, errors[0]["type"], errors[0]["loc"], errors[0]["msg"], prefix)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ConfigError(f"{path}: {text}{more}", hint=_README) from None


def _explain(
    model: type[BaseModel], kind: str, loc: tuple[int | str, ...], message: str, prefix: str
) -> str:
    key = ".".join([prefix, *map(str, loc)] if prefix else map(str, loc))
    if kind == "extra_forbidden":
        return f"{key}: unknown key{_suggest(str(loc[-1]), _keys(model, loc[:-1]))}"
    if kind == "missing":
        return f"{key}: this key is missing"
    message = message.removeprefix("Value error, ")
    if kind == "string_type" and "address" not in message:
        message += " (write it in quotes)"
    return f"{key}: {message}" if key else message


def _keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the model at ``loc`` knows."""
    for step in loc:
        if step in model.model_fields:
            inner = _model_in(model.model_fields[str(step)].annotation)
            if inner is None:
                return []
            model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as ``dict[str, Amm]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _known(path: Path, key: str, name: str, known: Any) -> None:
    if name not in known:
        raise ConfigError(
            f"{path}: {key}: {name!r} is unknown{_suggest(name, known)}",
            hint=f"known are {', '.join(map(str, known))}" if known else "none is defined",
        )


def _suggest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there is {', '.join(map(str, known))}"
