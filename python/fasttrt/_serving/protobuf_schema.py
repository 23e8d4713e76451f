"""Protobuf messages described by a table, without generated modules.

Generated modules demand a certain version of protobuf, and those of two packages that define the
same messages exclude each other. Messages of a schema have a pool of descriptors of their own.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

_SCALARS = {
    "bool": "TYPE_BOOL", "string": "TYPE_STRING", "bytes": "TYPE_BYTES", "int32": "TYPE_INT32",
    "int64": "TYPE_INT64", "uint32": "TYPE_UINT32", "uint64": "TYPE_UINT64", "float": "TYPE_FLOAT",
    "double": "TYPE_DOUBLE",
}  # fmt: skip


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        name: the field's name.
        number: its number on the wire.
        kind: a scalar type, or the name of a message or an enum.
        is_repeated: whether it is a list.
        is_map: whether it is a map from strings.
        is_supported: whether any value but the default is.
        has_presence: whether its absence differs from 0.
        oneof: the group of which one field at most is set; empty for none.
    """

    name: str
    number: int
    kind: str
    is_repeated: bool = False
    is_map: bool = False
    is_supported: bool = True
    has_presence: bool = False
    oneof: str = ""


class Schema:
    """Messages of a package; their classes are made when the first one is asked for.

    Attributes:
        fields: those of each message, by its name.
    """

    def __init__(self, package: str, enums: Mapping[str, str], messages: str) -> None:
        """Describe the messages.

        Args:
            package: the package's name.
            enums: the names of enums' values, which are numbered from 0 on.
            messages: the name of a message in a line, and a line for each of its fields: name,
                number, type, and the name of the group if one of several is set. After the type,
                ``*``: repeated; ``^``: a map from strings; ``?``: its absence differs from 0;
                ``!``: only the default is supported.
        """
        self._package = package
        self._enums = enums
        self.fields: dict[str, tuple[Field, ...]] = {}
        name = ""
        for line in messages.splitlines():
            words = line.split()
            if len(words) == 1:
                name = words[0]
                self.fields[name] = ()
            elif words:
                self.fields[name] = (*self.fields[name], _read_field(words))

    def message(self, name: str, **values: Any) -> Any:
        """Make a message of the name."""
        return self._classes[name](**values)

    @cached_property
    def _classes(self) -> dict[str, Any]:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

        file = descriptor_pb2.FileDescriptorProto(
            name=f"fasttrt/{self._package}.proto", package=self._package, syntax="proto3"
        )
        for name, values in self._enums.items():
            enum = file.enum_type.add(name=name)
            for number, value in enumerate(values.split()):
                enum.value.add(name=value, number=number)
        for name, fields in self.fields.items():
            message = file.message_type.add(name=name)
            for field in fields:
                self._add_field(message, field)
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(file.SerializeToString())
        return {
            name: message_factory.GetMessageClass(
                pool.FindMessageTypeByName(f"{self._package}.{name}")
            )
            for name in self.fields
        }

    def _add_field(self, message: Any, field: Field) -> None:
        added = message.field.add(name=field.name, number=field.number)
        is_list = field.is_repeated or field.is_map
        added.label = added.LABEL_REPEATED if is_list else added.LABEL_OPTIONAL
        if field.has_presence:
            added.proto3_optional, added.oneof_index = True, len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")
        elif field.oneof:
            groups = [group.name for group in message.oneof_decl]
            if field.oneof not in groups:
                message.oneof_decl.add(name=field.oneof)
                groups.append(field.oneof)
            added.oneof_index = groups.index(field.oneof)
        if field.is_map:  # to protobuf, a list of entries of a type of its own
            entry = message.nested_type.add(
                name="".join(word.capitalize() for word in field.name.split("_")) + "Entry"
            )
            entry.options.map_entry = True
            for name, number, kind in (("key", 1, "string"), ("value", 2, field.kind)):
                self._add_field(entry, Field(name, number, kind))
            added.type = added.TYPE_MESSAGE
            added.type_name = f".{self._package}.{message.name}.{entry.name}"
        elif field.kind in _SCALARS:
            added.type = getattr(added, _SCALARS[field.kind])
        else:
            added.type = added.TYPE_ENUM if field.kind in self._enums else added.TYPE_MESSAGE
            added.type_name = f".{self._package}.{field.kind}"


def _read_field(words: list[str]) -> Field:
    kind = words[2].rstrip("*^?!")
    marks = words[2][len(kind) :]
    return Field(
        words[0],
        int(words[1]),
        kind,
        is_repeated="*" in marks,
        is_map="^" in marks,
        is_supported="!" not in marks,
        has_presence="?" in marks,
        oneof=words[3] if len(words) > 3 else "",
    )
