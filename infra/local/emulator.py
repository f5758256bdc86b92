"""The local AWS: ministack 1.5.33, with fixes that this template needs.

Each fix documents the problem. `check_version` refuses to start with another version, so that every
fix is checked again after an update.
"""

import copy
import importlib.metadata
import inspect
import json
import re
import socketserver
import sys

VERSION = "1.5.33"


def check_version():
    installed = importlib.metadata.version("ministack")
    if installed != VERSION:
        sys.exit(
            f"ministack {installed} is installed, and infra/local/emulator.py mends {VERSION}: "
            "see which mends the new version still needs, then change VERSION"
        )


def replace(module, name, make):
    """Replaces module.name, which must exist, by `make(original)`."""
    setattr(module, name, make(getattr(module, name)))


def handler_of(provisioners, kind):
    """The functions that create, update and delete resources of a type."""
    tables = [getattr(provisioners, name) for name in dir(provisioners)]
    return next(t[kind] for t in tables if isinstance(t, dict) and isinstance(t.get(kind), dict))


def numbers_of_parameters():
    """A Number parameter is stored as a string in the concurrency of an event source mapping, whose
    poller compares it with a number, so that no message is delivered."""
    from ministack.services import lambda_svc
    from ministack.services.cloudformation import provisioners

    def in_numbers():
        for mapping in lambda_svc._esms.values():
            scaling = mapping.get("ScalingConfig") or {}
            if "MaximumConcurrency" in scaling:
                scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])

    handler = handler_of(provisioners, "AWS::Lambda::EventSourceMapping")
    for verb in ("create", "update"):

        def call(*given, _original=handler[verb], **named):
            made = _original(*given, **named)
            in_numbers()
            return made

        call.__signature__ = inspect.signature(handler[verb])
        handler[verb] = call


def answer_at_once():
    """Nagle's algorithm and delayed acknowledgements add 40 ms to each invocation, a wait for log
    lines 50 ms, and the queue's poller sleeps 50 ms between two polls."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    socketserver.StreamRequestHandler.disable_nagle_algorithm = True

    def drain(original):
        def quick(self, first_line_wait=0.002, idle_confirm=0.001, hard_cap=0.05):
            return original(self, first_line_wait, idle_confirm, hard_cap)

        return quick

    replace(lambda_runtime.Worker, "_drain_stderr_bounded", drain)
    assert hasattr(lambda_svc, "_ESM_IDLE_WAKE_GAP_SECONDS")
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0.002


def routes_of_the_template():
    """SAM writes an HTTP API's routes as an OpenAPI `Body`, which is ignored: every route is 404.
    Its CORS settings are stored with names that nothing reads."""
    from ministack.services import apigateway
    from ministack.services.cloudformation import provisioners

    def lower_first(members):
        return {name[0].lower() + name[1:]: value for name, value in (members or {}).items()}

    def import_body(api_id, body):
        apigateway._routes[api_id] = {}
        apigateway._integrations[api_id] = {}
        for path, operations in (body.get("paths") or {}).items():
            for method, operation in operations.items():
                integration = isinstance(operation, dict) and operation.get("x-amazon-apigateway-integration")
                if not integration:
                    continue
                integration_id, _ = provisioners._apigw_v2_integration_create(
                    "integration",
                    {
                        "ApiId": api_id,
                        "IntegrationType": integration.get("type", "aws_proxy").upper(),
                        "IntegrationUri": integration.get("uri", ""),
                        "PayloadFormatVersion": integration.get("payloadFormatVersion", "2.0"),
                        "TimeoutInMillis": integration.get("timeoutInMillis", 30000),
                    },
                    "",
                )
                verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
                key = "$default" if path.lstrip("/") == "$default" else f"{verb} {path}"
                route = {"ApiId": api_id, "RouteKey": key, "Target": f"integrations/{integration_id}"}
                provisioners._apigw_v2_route_create("route", route, "")

    def apply(api_id, properties):
        api, body = apigateway._apis[api_id], properties.get("Body")
        if properties.get("CorsConfiguration"):
            api["corsConfiguration"] = lower_first(properties["CorsConfiguration"])
        if isinstance(body, dict):
            import_body(api_id, body)
            cors = body.get("x-amazon-apigateway-cors")
            if cors:
                # A CommaDelimitedList parameter is passed as a string.
                origins = cors.get("allowOrigins")
                listed = origins.split(",") if isinstance(origins, str) else origins
                api["corsConfiguration"] = {**cors, "allowOrigins": listed}

    handler = handler_of(provisioners, "AWS::ApiGatewayV2::Api")
    original_create, original_update = handler["create"], handler["update"]

    def create(logical_id, properties, stack_name, *rest, **named):
        made = original_create(logical_id, properties, stack_name, *rest, **named)
        apply(made[0], properties)
        return made

    def update(physical_id, old, new, stack_name, *rest, **named):
        made = original_update(physical_id, old, new, stack_name, *rest, **named)
        apply(physical_id, new)
        return made

    # The caller checks the signatures.
    create.__signature__ = inspect.signature(original_create)
    update.__signature__ = inspect.signature(original_update)
    handler["create"], handler["update"] = create, update


def api_at_the_root():
    """The API is only found under `/_aws/execute-api/<id>`; this adds one stable URL."""
    from ministack import app
    from ministack.services import apigateway

    def parse(original):
        def at_root(host, path):
            parsed = original(host, path)
            if parsed is None and path.startswith(("/api/", "/dashboard")):
                apis = [api_id for (_, _, api_id), _ in apigateway._apis.all_items()]
                if apis:
                    first, _, rest = path.lstrip("/").partition("/")
                    return apis[-1], first, f"/{rest}" if rest else "/"
            return parsed

        return at_root

    replace(app, "_parse_execute_api_url", parse)

    def find(original):
        def in_any_account(api_id):
            scope = original(api_id)
            if scope is None:
                for (account, region, stored), _ in apigateway._apis.all_items():
                    if stored == api_id:
                        return account, region
            return scope

        return in_any_account

    # An unsigned request belongs to account 000000000000, and only its APIs are searched.
    replace(apigateway, "find_api_scope", find)


def conditions_of_policies():
    """`dynamodb:LeadingKeys` is missing, and variables in conditions and resources are not replaced, so a
    policy that separates tenants would have no effect."""
    from ministack.core import iam_actions, iam_evaluator
    from ministack.services import dynamodb

    def plain(value):
        return next(iter(value.values())) if isinstance(value, dict) and value else value

    def hash_attribute(table, index=None):
        known = dynamodb._tables.get((table or "").rsplit("/", 1)[-1]) or {}
        indexes = (known.get("GlobalSecondaryIndexes") or []) + (known.get("LocalSecondaryIndexes") or [])
        for one in indexes if index else []:
            if one.get("IndexName") == index:
                return next(k["AttributeName"] for k in one["KeySchema"] if k["KeyType"] == "HASH")
        return known.get("pk_name")

    def leading_keys(request):
        found = []

        def add(table, item):
            name = hash_attribute(table)
            if name and isinstance(item, dict) and name in item:
                found.append(str(plain(item[name])))

        add(request.get("TableName"), request.get("Key"))
        add(request.get("TableName"), request.get("Item"))
        for write in request.get("TransactItems") or []:
            for operation in write.values():
                add(operation.get("TableName"), operation.get("Key"))
                add(operation.get("TableName"), operation.get("Item"))
        for table, requests in (request.get("RequestItems") or {}).items():
            if isinstance(requests, dict):
                for key in requests.get("Keys") or []:
                    add(table, key)
            else:
                for one in requests:
                    for operation in one.values():
                        add(table, operation.get("Key"))
                        add(table, operation.get("Item"))
        condition = request.get("KeyConditionExpression")
        if condition:
            name = hash_attribute(request.get("TableName"), request.get("IndexName"))
            names = request.get("ExpressionAttributeNames") or {}
            values = request.get("ExpressionAttributeValues") or {}
            for attribute, value in re.findall(r"([#\w]+)\s*=\s*(:\w+)", condition):
                if names.get(attribute, attribute) == name:
                    found.append(str(plain(values.get(value))))
        return found

    def context(original):
        def with_keys(body):
            made = original(body)
            try:
                request = json.loads(body or b"{}")
            except ValueError:
                return made
            keys = leading_keys(request) if isinstance(request, dict) else []
            if keys:
                made["dynamodb:LeadingKeys"] = made["dynamodb:leadingkeys"] = keys
            return made

        return with_keys

    replace(iam_actions, "dynamodb_service_context", context)

    def filled(value, known):
        if isinstance(value, list):
            return [filled(one, known) for one in value]
        if not isinstance(value, str) or "${" not in value:
            return value

        def one(match):
            key = match.group(1).split(",")[0].strip()
            resolved = iam_evaluator._resolve_condition_key(key, known)
            return match.group(0) if resolved is None else str(resolved)

        return re.sub(r"\$\{([^}]+)\}", one, value)

    def conditions_met(original):
        def with_variables(conditions, known):
            if conditions and "${" in json.dumps(conditions):
                conditions = {
                    operator: {key: filled(value, known) for key, value in keys.items()}
                    for operator, keys in conditions.items()
                }
            return original(conditions, known)

        return with_variables

    replace(iam_evaluator, "_conditions_met", conditions_met)

    def first_match(original):
        def with_variables(known, statements, effect):
            for one in statements:
                if "${" in json.dumps([one.resources, one.not_resources]):
                    own = copy.copy(one)
                    own.resources = filled(one.resources, known)
                    own.not_resources = filled(one.not_resources, known)
                    if original(known, [own], effect):
                        return one
                elif original(known, [one], effect):
                    return one
            return None

        return with_variables

    replace(iam_evaluator, "_first_match", first_match)


if __name__ == "__main__":
    check_version()
    answer_at_once()
    numbers_of_parameters()
    routes_of_the_template()
    api_at_the_root()
    conditions_of_policies()
    from ministack.app import main

    main()
