"""The vendor's wire schemas (`gexbot.md` §3), declared with descriptors so that no protoc is needed.

Package and message names are our own: on the wire a payload is known by its bare `type_url` alone.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from domain.options.profile import ORDERFLOW_SCALARS

_PACKAGE: Final = "zerohour.gexbot"
_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "sint32": _FIELD.TYPE_SINT32,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}
UNSIGNED_ORDERFLOW_N: Final = 8  # the first eight orderflow scalars are strikes, the others signed

# A field is "number kind name"; the kind may be led by `optional` or `repeated`.
_ORDERFLOW: Final = tuple(
    f"{number} {'uint32' if number < 4 + UNSIGNED_ORDERFLOW_N else 'sint32'} {name}"
    for number, name in enumerate(ORDERFLOW_SCALARS, start=4)
)
_GEX_HEAD: Final = (
    "1 int64 timestamp",
    "2 string ticker",
    "3 optional sint32 min_dte",
    "4 optional sint32 sec_min_dte",
    "5 uint32 spot",
    "6 uint32 zero_gamma",
    "7 uint32 major_pos_vol",
    "8 uint32 major_pos_oi",
    "9 uint32 major_neg_vol",
    "10 uint32 major_neg_oi",
)
_GEX_TAIL: Final = (
    "12 sint32 sum_gex_vol",
    "13 sint32 sum_gex_oi",
    "14 sint32 delta_risk_reversal",
    "15 optional MaxPriors max_priors",
)
_GREEK_HEAD: Final = (
    "1 int64 timestamp",
    "2 string ticker",
    "3 uint32 spot",
    "4 optional sint32 min_dte",
    "5 optional sint32 sec_min_dte",
    "6 uint32 major_call_gamma",
    "7 uint32 major_put_gamma",
    "8 uint32 major_long_gamma",
    "9 uint32 major_short_gamma",
)
_MESSAGES: Final[dict[str, tuple[str, ...]]] = {
    "Any": ("1 string type_url", "2 bytes value"),
    "Priors": ("1 repeated sint32 values",),
    "Strike": (
        "1 uint32 strike",
        "2 sint32 gex_vol",
        "3 sint32 gex_oi",
        "4 optional Priors priors",
    ),
    "MaxTuple": ("1 sint32 strike", "2 sint32 change"),
    "MaxPriors": ("1 repeated MaxTuple tuples",),
    "Gex": (*_GEX_HEAD, "11 repeated Strike strikes", *_GEX_TAIL),
    "GexUnread": (*_GEX_HEAD, "11 repeated bytes strikes", *_GEX_TAIL),
    "MiniContract": (
        "1 uint32 strike",
        "2 uint32 call_ivol",
        "3 uint32 put_ivol",
        "4 sint32 exposure",
        "5 repeated sint32 priors",
    ),
    "OptionProfile": (*_GREEK_HEAD, "10 repeated MiniContract contracts"),
    "OptionProfileUnread": (*_GREEK_HEAD, "10 repeated bytes contracts"),
    "Orderflow": ("1 int64 timestamp", "2 string ticker", "3 uint32 spot", *_ORDERFLOW),
    "SpotPrice": (
        "1 int64 timestamp",
        "2 string ticker",
        "3 uint32 spot",
        "4 optional int64 source_timestamp_ms",
    ),
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="zerohour/gexbot.proto", package=_PACKAGE, syntax="proto3")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for line in fields:
            number, *kinds, name = line.split()
            kind = kinds[-1]
            is_repeated = kinds[0] == "repeated"
            field = message.field.add(
                name=name,
                number=int(number),
                label=_FIELD.LABEL_REPEATED if is_repeated else _FIELD.LABEL_OPTIONAL,
            )
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
            if kinds[0] == "optional":  # presence in proto3 is a oneof of one member
                message.oneof_decl.add(name=f"_{name}")
                field.proto3_optional = True
                field.oneof_index = len(message.oneof_decl) - 1
    return file


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def _class_of(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


AnyFrame: Final = _class_of("Any")
Strike: Final = _class_of("Strike")
MiniContract: Final = _class_of("MiniContract")
Gex: Final = _class_of("Gex")
OptionProfile: Final = _class_of("OptionProfile")
# The same on the wire, with the nested messages left as bytes for `columns`.
GexUnread: Final = _class_of("GexUnread")
OptionProfileUnread: Final = _class_of("OptionProfileUnread")
Orderflow: Final = _class_of("Orderflow")
SpotPrice: Final = _class_of("SpotPrice")
