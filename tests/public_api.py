"""What users may rely on, as lines: ``python tests/public_api.py > tests/public_api.txt`` after a wanted change.

One line a public name, with its signature as it stands in the source: parameters, types, defaults, and what it returns.
"""

import ast
import enum
import importlib
import inspect
import textwrap
import typing
from collections.abc import Callable, Iterator

import celery_dtimer

ROOT = celery_dtimer.__name__

#: The modules that the documentation imports from, each with the names that it shows there.
MODULES = {
    ROOT: celery_dtimer.__all__,
    f"{ROOT}.signals": importlib.import_module(f"{ROOT}.signals").__all__,
    f"{ROOT}.testing": importlib.import_module(f"{ROOT}.testing").__all__,
    f"{ROOT}.testing.nodes": importlib.import_module(f"{ROOT}.testing.nodes").__all__,
    f"{ROOT}.web": ["console"],
    f"{ROOT}.operating.otel": ["instrument"],
    f"{ROOT}.posting.signatures": ["InstallOptions", "PostManyOptions", "PostOptions", "TaskOptions"],
    f"{ROOT}.django.on_commit": ["DTimerDjangoTask"],
    f"{ROOT}.django.tasks": ["DTimerBackend"],
}


def lines() -> Iterator[str]:
    """All of it."""
    for module, names in MODULES.items():
        for name in sorted(names):
            yield from of_name(f"{module}.{name}", getattr(importlib.import_module(module), name))


def of_name(path: str, thing: object) -> Iterator[str]:
    """The lines of one name."""
    if isinstance(thing, type):
        yield from of_class(path, thing)
    elif inspect.isfunction(thing):
        yield from of_function(path, thing)
    else:
        arguments = getattr(thing, "providing_args", None)
        yield path + (f"({', '.join(sorted(arguments))})" if arguments else f": {type(thing).__name__}")


def of_class(path: str, cls: type) -> Iterator[str]:
    """A class: its bases, and each member that comes from this package, whichever base has it."""
    foreign = [base for base in cls.__mro__[1:] if base.__module__.partition(".")[0] != ROOT and base is not object]
    bases = [base for base in foreign if not any(base in other.__mro__[1:] for other in foreign)]
    yield f"class {path}({', '.join(base.__name__ for base in bases)})"
    if issubclass(cls, enum.Enum):
        yield from (f"{path}.{member.name} = {member.value!r}" for member in cls)
    found: dict[str, list[str]] = {}
    for owner in cls.__mro__:
        if owner.__module__.partition(".")[0] != ROOT:
            continue
        for name, annotation in fields_of(owner).items():
            found.setdefault(name, [f"{path}.{name}: {annotation}"])
        for name, member in vars(owner).items():
            if (not name.startswith("_") or name == "__init__") and name not in found:
                found[name] = list(of_member(f"{path}.{name}", member))
    for name in sorted(found):
        yield from found[name]


def fields_of(cls: type) -> dict[str, str]:
    """The annotated fields of a class body, with their defaults.

    Of two classes of one name, the one for type checkers alone, Python before 3.13 may find the wrong source.
    """
    there = inspect.get_annotations(cls)
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        node.target.id: ast.unparse(node.annotation) + default_of(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and not node.target.id.startswith("_")
        and node.target.id in there
    }


def default_of(value: ast.expr | None) -> str:
    """A field's default, also where ``field`` says more of it."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        named = {word.arg: word.value for word in value.keywords}
        factory = named.get("default_factory")
        value = ast.Call(factory, [], []) if factory else named.get("default")
    return f" = {ast.unparse(value)}" if value else ""


def of_member(path: str, member: object) -> Iterator[str]:
    """A method, or a property; other attributes of classes are no promise."""
    if isinstance(member, property):
        returns = [line.rpartition(" -> ")[2] for line in of_function(path, member.fget)]
        yield f"{path}: {returns[0]}" + ("" if member.fset is None else "  # may be set")
    elif isinstance(member, classmethod | staticmethod):
        yield from of_function(path, member.__func__)
    elif inspect.isfunction(member) and member.__module__.partition(".")[0] == ROOT and inspect_able(member):
        yield from of_function(path, member)


def inspect_able(function: Callable[..., object]) -> bool:
    """Whether its source is in a file: that of a dataclass's ``__init__`` is not, and its fields say the same."""
    return not function.__code__.co_filename.startswith("<")


def of_function(path: str, function: Callable[..., object]) -> Iterator[str]:
    """A function, or each of its overloads."""
    for each in typing.get_overloads(function) or [function]:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(each)))).body
        assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
        show_defaults(tree.args, each)
        returns = f" -> {ast.unparse(tree.returns)}" if tree.returns else ""
        yield f"{path}({ast.unparse(tree.args)}){returns}"


def show_defaults(arguments: ast.arguments, function: Callable[..., object]) -> None:
    """Put the value in the place of a default that is a name, if it is a plain one."""
    values = inspect.signature(function).parameters
    positional = [*arguments.posonlyargs, *arguments.args]
    behind = positional[len(positional) - len(arguments.defaults) :]
    for names, defaults in ((behind, arguments.defaults), (arguments.kwonlyargs, arguments.kw_defaults)):
        for i, (name, default) in enumerate(zip(names, defaults, strict=True)):
            value = values[name.arg].default
            if isinstance(default, ast.Attribute | ast.Name) and isinstance(value, int | float | str | tuple | None):
                defaults[i] = ast.Constant(value)


if __name__ == "__main__":
    print(*lines(), sep="\n")
