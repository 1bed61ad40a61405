"""Judges inputs as an app of fal's would: FastAPI routes whose models are pydantic's.

Reads JSON lines `{"document": …, "inputs": […]}` and answers each with `{"answers": […]}`: null for an input that
the route takes, the `detail` of its 422, or `{"failed": why}` where a server would answer 500. A document that cannot be built is answered with `{"refused": why}`.

The models are made as an author would have written them: the document says what pydantic made of their code, and here
that is undone. What a document leaves open is decided here, each with its reason beside it.
"""

import asyncio
import json
import math
import sys
from enum import Enum
from typing import Annotated, Any, Literal, Optional, Union
from urllib.parse import urlparse

from fastapi import Body, FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import UUID4, BaseModel, ConfigDict, Field, HttpUrl, create_model, model_validator


class File(BaseModel):
    """The base of the SDK's file types, which also takes a bare address.

    Source: `fal.toolkit.file` of the serverless SDK: the check, its name, which pydantic shows, and its words.
    """

    @model_validator(mode="before")
    @classmethod
    def __convert_from_str_v2(cls, value: Any):
        if not isinstance(value, str):
            return value
        address = urlparse(value)
        if address.scheme not in ["http", "https", "data"]:
            raise ValueError("value must be a valid URL")
        return {"url": address.geturl()}


class Builder:
    """The models of one document."""

    def __init__(self, document):
        self.document = document
        self.components = {}
        # Documents of the older kind lost their null alternatives, all of them.
        self.states_nulls = '"type": "null"' in json.dumps(document)

    def root(self):
        posts = (item["post"] for item in self.document["paths"].values() if "post" in item)
        post = next(post for post in posts if "requestBody" in post)
        return self.kind(post["requestBody"]["content"]["application/json"]["schema"], "Input")

    def kind(self, schema, name):
        """The annotation for a schema. `name` is for models that have none of their own."""
        if schema is True:
            return Any
        kind = self.kind_without_null(schema, name)
        return Optional[kind] if schema.get("nullable") is True else kind

    def kind_without_null(self, schema, name):
        if "$ref" in schema:
            return self.component(schema["$ref"])
        if "allOf" in schema:
            [only] = schema["allOf"]
            return self.kind(only, name)
        if "const" in schema:
            return Literal[schema["const"]]
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                kinds = [self.kind(one, name) for one in schema[keyword]]
                # pydantic writes the bounds of a union under their own names.
                return bounded(Union[tuple(kinds)], schema, {"ge": "ge", "le": "le"})
        if "enum" in schema:
            return Literal[tuple(schema["enum"])]
        return getattr(self, schema.get("type", "any"))(schema, name)

    def component(self, reference):
        name = reference.removeprefix("#/components/schemas/")
        schema = self.document["components"]["schemas"].get(name)
        if schema is None:
            # A served document lacks some; whatever they were, nobody can check it.
            return Any
        if name not in self.components:
            if "enum" in schema:
                members = {f"m{at}": value for at, value in enumerate(schema["enum"])}
                kind = Enum(schema.get("title", name), members)
            else:
                kind = self.kind(schema, name)
            self.components[name] = kind
        return self.components[name]

    def any(self, schema, name):
        return self.object(schema, name) if "properties" in schema else Any

    def null(self, _schema, _name):
        return None

    def boolean(self, _schema, _name):
        return bool

    def string(self, schema, _name):
        if schema.get("format") == "uri" and schema.get("maxLength") == 2083:
            return HttpUrl
        if schema.get("format") == "uuid4":
            return UUID4
        names = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
        return bounded(str, schema, names)

    def integer(self, schema, _name):
        # Bounds of 64 bits were rounded on their way through JavaScript; pydantic takes none that are larger.
        whole = {name: min(max(int(limit), -(2**63)), 2**64) for name, limit in schema.items() if name in NUMBER}
        return bounded(int, whole, NUMBER)

    def number(self, schema, _name):
        return bounded(float, schema, NUMBER)

    def array(self, schema, name):
        items = schema.get("items", {})
        prefix = schema.get("prefixItems")
        if "0" in items:
            prefix = [items[str(at)] for at in range(len(items))]
        if prefix is not None:
            return tuple[tuple(self.kind(item, name) for item in prefix)]
        kind = set if schema.get("uniqueItems") else list
        names = {"minItems": "min_length", "maxItems": "max_length"}
        return bounded(kind[self.kind(items, name)], schema, names)

    def object(self, schema, name):
        rest = schema.get("additionalProperties")
        if "properties" not in schema:
            return dict[str, self.kind(rest, name) if isinstance(rest, dict) else Any]
        required = schema.get("required", [])
        properties = schema["properties"]
        order = schema.get("x-fal-order-properties")
        if order is None:
            order = sorted(properties, key=lambda name: (name not in required, name))
        fields = {}
        for at, field in enumerate(order):
            fields[f"field_{at}"] = self.field(field, properties[field], field in required)
        forbid = {False: "forbid", True: "allow"}.get(rest, "ignore")
        is_file = "url" in required and "content_type" in properties
        model = create_model(
            schema.get("title", name),
            __base__=type("Base", (File if is_file else BaseModel,), {"model_config": ConfigDict(extra=forbid)}),
            **fields,
        )
        return model

    def field(self, name, schema, is_required):
        kind = self.kind(schema, name)
        if is_required:
            # An alias, because not every name is one of Python's; errors show the alias.
            return (kind, Field(alias=name))
        default = schema.get("default")
        if default is None and not self.states_nulls:
            kind = Optional[kind]
        # Defaults are not validated, and some do not fit.
        return (kind, Field(default=default, alias=name))


NUMBER = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}


def bounded(kind, schema, names):
    limits = {ours: schema[theirs] for theirs, ours in names.items() if theirs in schema}
    return Annotated[kind, Field(**limits)] if limits else kind


def app_of(kind):
    """One route, with the handler that the serverless SDK installs for refused inputs."""
    app = FastAPI()

    async def take(body):
        return {}

    take.__annotations__["body"] = Annotated[kind, Body()]
    app.post("/")(take)

    @app.exception_handler(RequestValidationError)
    async def refuse(_request: Request, error: RequestValidationError):
        encoders = {
            BaseException: str,
            float: lambda value: value if math.isfinite(value) else str(value),
        }
        return JSONResponse({"detail": jsonable_encoder(error.errors(), custom_encoder=encoders)}, 422)

    return app


async def post(app, body):
    """Calls an app without a server. Gives the status and the body."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
        "client": None,
        "server": None,
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def judge(document, inputs):
    app = app_of(Builder(document).root())
    answers = []
    for value in inputs:
        try:
            status, body = await post(app, json.dumps(value).encode())
        except Exception as error:  # To a caller of a server this is a 500.
            answers.append({"failed": f"{type(error).__name__}: {error}"})
            continue
        if status not in (200, 422):
            raise RuntimeError(f"{status} for {value}")
        answers.append(json.loads(body)["detail"] if status == 422 else None)
    return {"answers": answers}


def main():
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = asyncio.run(judge(question["document"], question["inputs"]))
        except Exception as error:  # Whatever pydantic has against a document is for the test to judge.
            answer = {"refused": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
