"""Finds the regular expressions of the product in its source, and builds the worst strings for each."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from re import _constants as constants  # type: ignore[attr-defined] # the parser's node types are not public
from re import _parser as parser  # type: ignore[attr-defined] # no public function parses a pattern
from typing import Any

PRODUCT = Path(__file__).parents[1]
PACKAGES = ("invoices", "sources", "flows", "transforms", "expectations")
METHODS = ("match", "search", "fullmatch", "split", "sub", "subn", "finditer", "findall")
REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT)
_SAMPLE_CHARACTERS = ' a\n0A-.<\t:_,"é\0'
_MAX_CHARACTERS_PER_CLASS = 3
_MAX_SAMPLES = 6  # per node: alternatives and characters of a class


@dataclass(frozen=True, slots=True)
class FoundPattern:
    """A regular expression of the product, where it is, and the methods by which it is matched."""

    place: str  # module:line
    pattern: re.Pattern[Any]
    methods: tuple[str, ...]


def find_patterns(built_patterns: Mapping[str, Iterable[re.Pattern[Any]]]) -> Iterator[FoundPattern]:
    """Yield every pattern that a call of ``re`` in the product compiles or matches.

    ``built_patterns`` has examples for the calls whose pattern only exists at run time, by ``module:function``. Raises
    LookupError for such a call without an example.
    """
    trees = {
        path: ast.parse(path.read_text("utf-8")) for package in PACKAGES for path in (PRODUCT / package).rglob("*.py")
    }
    methods_by_name = _list_methods_by_name(trees.values())
    for path, tree in sorted(trees.items()):
        module = ".".join(path.relative_to(PRODUCT).with_suffix("").parts)
        for statement, function_name in _iter_statements(tree):
            for call in _iter_re_calls(statement):
                yield from _evaluate_call(module, statement, function_name, call, methods_by_name, built_patterns)
            for keyword in (node for node in ast.walk(statement) if isinstance(node, ast.keyword)):
                if keyword.arg == "pattern" and isinstance(keyword.value, (ast.Constant, ast.Name)):  # pydantic's Field
                    text = _evaluate(keyword.value, vars(importlib.import_module(module)))
                    yield FoundPattern(f"{module}:{keyword.lineno}", re.compile(text), ("search",))


def _evaluate_call(
    module: str, statement: ast.stmt, function_name: str | None, call: ast.Call,
    methods_by_name: Mapping[str, set[str]], built_patterns: Mapping[str, Iterable[re.Pattern[Any]]],
) -> Iterator[FoundPattern]:  # fmt: skip
    place = f"{module}:{call.lineno}"
    called = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    chained = {node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute) and node.value is call}
    names = [
        node.id
        for target in getattr(statement, "targets", [])
        for node in ast.walk(target)
        if isinstance(node, ast.Name)
    ]
    names += (
        [statement.target.id] if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) else []
    )
    used_methods = chained.union(*(methods_by_name.get(name, set()) for name in names))
    methods = tuple(sorted(used_methods)) if called == "compile" else (called,)
    example_key = f"{module}:{function_name}"
    if example_key in built_patterns:
        yield from (FoundPattern(place, pattern, methods or METHODS[:3]) for pattern in built_patterns[example_key])
        return
    namespace = vars(importlib.import_module(module))
    try:
        pattern = re.compile(_evaluate(call.args[0], namespace), _read_flags(call, namespace))
    except NameError as error:
        raise LookupError(f"{place}: the pattern of {example_key!r} is built at run time: add an example") from error
    yield FoundPattern(place, pattern, methods or METHODS[:3])


def _read_flags(call: ast.Call, namespace: dict[str, Any]) -> int:
    """Return the flags of a call, which are its argument ``flags`` or one that names flags."""
    nodes = [keyword.value for keyword in call.keywords if keyword.arg == "flags"]
    nodes += [node for node in call.args[1:] if re.match(r"re\.[A-Z]", ast.unparse(node))]
    return int(_evaluate(nodes[0], namespace)) if nodes else 0


def _evaluate(node: ast.expr, namespace: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "<product>", "eval"), namespace)  # noqa: S307 - our own source


def _iter_statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, str | None]]:
    """Yield the simple statements of a module, each with the name of the function around it."""

    def walk(node: ast.AST, function_name: str | None) -> Iterator[tuple[ast.stmt, str | None]]:
        for child in ast.iter_child_nodes(node):
            name = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function_name
            if isinstance(child, ast.stmt) and not any(
                isinstance(inner, ast.stmt) for inner in ast.iter_child_nodes(child)
            ):
                yield child, name
            elif isinstance(child, ast.expr):
                yield ast.Expr(child), name  # such as the condition of an ``if``
            else:
                yield from walk(child, name)

    return walk(tree, None)


def _iter_re_calls(statement: ast.stmt) -> Iterator[ast.Call]:
    for node in ast.walk(statement):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr in {"compile", *METHODS}
        ):
            yield node


def _list_methods_by_name(trees: Iterable[ast.Module]) -> dict[str, set[str]]:
    """Return by the name of a variable which methods of a pattern are used on it."""
    methods_by_name: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in METHODS and isinstance(node.value, ast.Name):
                methods_by_name.setdefault(node.value.id, set()).add(node.attr)
    return methods_by_name


def parse_pattern(pattern: re.Pattern[Any]) -> Any:
    """Return the syntax tree of a pattern."""
    return parser.parse(
        pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    )


def has_nested_repetition(nodes: Any, is_inside: bool = False) -> bool:
    """Return whether a repetition of varying length is inside another one, and can be matched in several ways.

    Possessive repetitions and atomic groups are never matched in a second way.
    """
    for operator, argument in nodes:
        if operator in REPEATS:
            lowest, highest, body = argument
            is_repetition = highest > 1 and highest != lowest
            if (is_repetition and is_inside) or has_nested_repetition(body, is_inside or is_repetition):
                return True
        elif operator in (constants.POSSESSIVE_REPEAT, constants.ATOMIC_GROUP):
            body = argument[2] if operator is constants.POSSESSIVE_REPEAT else argument
            if has_nested_repetition(body, False):
                return True
        elif any(has_nested_repetition(branch, is_inside) for branch in _list_branches(operator, argument)):
            return True
    return False


def has_unsafe_possessive_group(nodes: Any, is_inside: bool = False) -> bool:
    """Return whether a group that can be matched in several ways is repeated possessively.

    Python 3.11.0 to 3.11.4 match such a repetition wrongly (CPython issue 106052).
    """
    for operator, argument in nodes:
        if operator is constants.POSSESSIVE_REPEAT:
            if has_unsafe_possessive_group(argument[2], is_inside or len(argument[2]) > 1):
                return True
        elif is_inside and (operator in REPEATS or operator is constants.BRANCH):
            return True
        else:
            bodies = [argument[2]] if operator in REPEATS else _list_branches(operator, argument)
            if any(has_unsafe_possessive_group(body, is_inside) for body in bodies):
                return True
    return False


def _list_branches(operator: Any, argument: Any) -> list[Any]:
    if operator is constants.SUBPATTERN:
        return [argument[3]]
    if operator is constants.BRANCH:
        return list(argument[1])
    if operator in (constants.ASSERT, constants.ASSERT_NOT):
        return [argument[1]]
    return []


def build_worst_strings(pattern: re.Pattern[Any], size: int) -> Iterator[Any]:
    """Yield strings of about ``size`` characters: what a part of the pattern accepts, repeated, and a failing end."""
    seen: set[str] = set()
    for prefix, pieces in _iter_repeated_pieces(parse_pattern(pattern), ""):
        for piece in pieces:
            for text in (
                prefix + piece * (size // max(1, len(piece))),
                (prefix + piece) * (size // max(1, len(prefix + piece))),
            ):
                for end in ("\1", "", prefix):
                    if piece and (candidate := text + end) not in seen:
                        seen.add(candidate)
                        yield candidate.encode("utf-8") if isinstance(pattern.pattern, bytes) else candidate


def _iter_repeated_pieces(nodes: Any, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the accepted beginning before each part of a pattern, with samples of the part and of what follows."""
    nodes = list(nodes)
    for position, (operator, argument) in enumerate(nodes):
        samples = _sample_node(operator, argument)
        rest = _sample_sequence(nodes[position + 1 :])[:1]
        yield prefix, [*samples, *(sample + text for sample in samples[:2] for text in rest), "".join(samples)]
        body = argument[2] if operator in (*REPEATS, constants.POSSESSIVE_REPEAT) else None
        for inner in [body] if body is not None else _list_branches(operator, argument):
            yield from _iter_repeated_pieces(inner, prefix)
        prefix += samples[0] if samples else ""


def _sample_sequence(nodes: Iterable[tuple[Any, Any]]) -> list[str]:
    """Return some strings that a sequence of nodes accepts."""
    samples = [""]
    for operator, argument in nodes:
        node_samples = _sample_node(operator, argument) or [""]
        samples = [samples[index % len(samples)] + node_samples[index % len(node_samples)]
                   for index in range(min(_MAX_SAMPLES, max(len(samples), len(node_samples))))]  # fmt: skip
    return samples


def _sample_node(operator: Any, argument: Any) -> list[str]:
    if operator is constants.LITERAL:
        return [chr(argument)]
    if operator in (constants.NOT_LITERAL, constants.ANY, constants.IN):
        return [character for character in _SAMPLE_CHARACTERS if _accepts(operator, argument, character)][
            :_MAX_CHARACTERS_PER_CLASS
        ] or (
            [chr(argument[0][1][0] if argument[0][0] is constants.RANGE else argument[0][1])]
            if operator is constants.IN
            else []
        )
    if operator in (*REPEATS, constants.POSSESSIVE_REPEAT):
        lowest, _, body = argument
        samples = _sample_sequence(body)
        return [sample * max(1, lowest) for sample in samples]
    if operator is constants.ATOMIC_GROUP:
        return _sample_sequence(argument)
    if operator is constants.SUBPATTERN:
        return _sample_sequence(argument[3])
    if operator is constants.BRANCH:
        return [sample for branch in argument[1] for sample in _sample_sequence(branch)[:2]][:_MAX_SAMPLES]
    return [""]  # positions and references


_CATEGORY_PATTERNS = {
    constants.CATEGORY_DIGIT: r"\d", constants.CATEGORY_NOT_DIGIT: r"\D", constants.CATEGORY_SPACE: r"\s",
    constants.CATEGORY_NOT_SPACE: r"\S", constants.CATEGORY_WORD: r"\w", constants.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def _accepts(operator: Any, argument: Any, character: str) -> bool:
    """Return whether a node for one character accepts it."""
    if operator is constants.ANY:
        return True
    if operator is constants.NOT_LITERAL:
        return ord(character) != argument
    items = list(argument)
    is_negated = items[0][0] is constants.NEGATE
    is_member = any(
        (kind is constants.LITERAL and value == ord(character))
        or (kind is constants.RANGE and value[0] <= ord(character) <= value[1])
        or (kind is constants.CATEGORY and re.match(_CATEGORY_PATTERNS[value], character) is not None)
        for kind, value in items[is_negated:]
    )
    return is_member != is_negated
