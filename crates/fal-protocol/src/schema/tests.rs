//! Tables for every keyword and every defect, and properties for arbitrary documents.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    DEPTH_MAX, DefectKind, Dialect, ECHO_BYTES_MAX, Mode, ModelSchema, NODES_MAX, PROBLEMS_MAX,
    SchemaError, parse_dump,
};

fn document(input: Value, components: Value) -> Value {
    let mut components = components;
    components["Input"] = input;
    let body = |schema: Value| json!({"content": {"application/json": {"schema": schema}}});
    let request = body(json!({"$ref": "#/components/schemas/Input"}));
    let post = json!({"requestBody": request, "responses": {"200": body(json!({}))}});
    json!({"paths": {"/acme/test": {"post": post}}, "components": {"schemas": components}})
}

/// A model whose input has this one optional field `x`.
#[track_caller]
fn model_of(field: &Value) -> ModelSchema {
    model_with(field, json!({}))
}

#[track_caller]
fn model_with(field: &Value, components: Value) -> ModelSchema {
    // The second field states that this document writes its nulls.
    let optional = json!({"anyOf": [{"type": "integer"}, {"type": "null"}]});
    let input = json!({"type": "object", "properties": {"x": field, "optional": optional}});
    ModelSchema::from_value(&document(input, components)).unwrap()
}

/// The problems as `loc type`, with `body.x` left out.
#[track_caller]
fn problems(model: &ModelSchema, input: &Value, mode: Mode) -> Vec<String> {
    let report = model.validate(input, mode);
    assert_eq!(report.is_valid(), model.is_valid(input, mode), "{mode:?} {input}");
    let line = |problem: &super::Problem<'_>| {
        let text = problem.to_string();
        let (loc, _) = text.split_once(": ").unwrap();
        let loc = loc.strip_prefix("body").unwrap();
        format!("{} {}", loc.strip_prefix(".x").unwrap_or(loc), problem.error_type())
    };
    report.problems().iter().map(|problem| line(problem).trim().to_owned()).collect()
}

#[track_caller]
fn check(field: Value, table: &[(Value, &[&str], &[&str])]) {
    let model = model_of(&field);
    assert_eq!(model.defects(), [], "{field}");
    for (value, strict, as_fal) in table {
        let input = json!({"x": value});
        assert_eq!(problems(&model, &input, Mode::Strict), *strict, "strict: {value} in {field}");
        assert_eq!(problems(&model, &input, Mode::AsFal), *as_fal, "as fal: {value} in {field}");
    }
}

#[test]
fn types_coerce_as_the_service_does() {
    check(
        json!({"type": "string"}),
        &[
            (json!("a"), &[], &[]),
            (json!(""), &[], &[]),
            (json!(5), &["string_type"], &["string_type"]),
            (json!(null), &["string_type"], &["string_type"]),
        ],
    );
    check(
        json!({"type": "integer"}),
        &[
            (json!(3.0), &[], &[]),
            (json!(3.5), &["int_from_float"], &["int_from_float"]),
            (json!("5"), &["int_type"], &[]),
            (json!(" +1_000.0 "), &["int_type"], &[]),
            (json!("five"), &["int_type"], &["int_parsing"]),
            (json!("1__0"), &["int_type"], &["int_parsing"]),
            (json!(true), &["int_type"], &[]),
            (json!([]), &["int_type"], &["int_type"]),
            (json!(99_999_999_999_999_999_999_f64), &[], &["int_parsing_size"]),
            (json!("9".repeat(4300)), &["int_type"], &[]),
            (json!("9".repeat(4301)), &["int_type"], &["int_parsing_size"]),
        ],
    );
    check(
        json!({"type": "number"}),
        &[
            (json!(3), &[], &[]),
            (json!("2.5e1"), &["float_type"], &[]),
            (json!("inf"), &["float_type"], &[]),
            (json!("1_0"), &["float_type"], &[]),
            (json!("1__0"), &["float_type"], &["float_parsing"]),
            (json!(false), &["float_type"], &[]),
            (json!({}), &["float_type"], &["float_type"]),
        ],
    );
    check(
        json!({"type": "boolean"}),
        &[
            (json!(true), &[], &[]),
            (json!("Yes"), &["bool_type"], &[]),
            (json!("maybe"), &["bool_type"], &["bool_parsing"]),
            (json!(1), &["bool_type"], &[]),
            (json!(2), &["bool_type"], &["bool_parsing"]),
            (json!(0.5), &["bool_type"], &["bool_type"]),
            (json!([]), &["bool_type"], &["bool_type"]),
        ],
    );
    check(json!({"type": "null"}), &[(json!(1), &["none_required"], &["none_required"])]);
    check(json!({"type": ["string", "null"]}), &[(json!(null), &[], &[])]);
    check(json!(false), &[(json!(1), &["value_error"], &["value_error"])]);
    check(json!(true), &[(json!([1]), &[], &[])]);
}

#[test]
fn numbers_keep_their_bounds() {
    check(
        json!({"type": "integer", "minimum": 1, "maximum": 9_223_372_036_854_776_000_u64}),
        &[
            (json!(0), &["greater_than_equal"], &["greater_than_equal"]),
            (json!("0"), &["int_type"], &["greater_than_equal"]),
            (json!(i64::MAX), &[], &[]),
            (json!(u64::MAX), &["less_than_equal"], &["less_than_equal"]),
        ],
    );
    check(
        json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.0}),
        &[
            (json!(0), &["greater_than"], &["greater_than"]),
            (json!(1), &["less_than"], &["less_than"]),
            (json!(0.5), &[], &[]),
        ],
    );
    check(
        json!({"type": "number", "multipleOf": 0.05}),
        &[
            (json!(0.15), &[], &[]),
            (json!(0.15000000000000002), &["multiple_of"], &[]),
            (json!(0.12), &["multiple_of"], &["multiple_of"]),
        ],
    );
    check(
        json!({"type": "integer", "multipleOf": 8}),
        &[(json!(16), &[], &[]), (json!(12), &["multiple_of"], &["multiple_of"])],
    );
}

#[test]
fn texts_keep_their_lengths_and_patterns() {
    check(
        json!({"type": "string", "minLength": 2, "maxLength": 3}),
        &[
            (json!("é"), &["string_too_short"], &["string_too_short"]),
            (json!("ééé"), &[], &[]),
            (json!("😀😀😀😀"), &["string_too_long"], &["string_too_long"]),
        ],
    );
    check(
        json!({"type": "string", "pattern": "^\\w+$"}),
        &[
            (json!("a_1"), &[], &[]),
            (json!("é"), &["string_pattern_mismatch"], &[]),
            (json!("a b"), &["string_pattern_mismatch"], &["string_pattern_mismatch"]),
        ],
    );
    check(
        json!({"type": "string", "pattern": "^#([0-9A-Fa-f]{3}){1,2}$"}),
        &[
            (json!("#fff"), &[], &[]),
            (json!("#A1b2C3"), &[], &[]),
            (json!("#ffff"), &["string_pattern_mismatch"], &["string_pattern_mismatch"]),
        ],
    );
    check(
        json!({"type": "string", "pattern": "b[^a-c]?d{2,}"}),
        &[
            (json!("abxddd!"), &[], &[]),
            (json!("abcdd"), &["string_pattern_mismatch"], &["string_pattern_mismatch"]),
        ],
    );
}

#[test]
fn enums_and_constants() {
    check(
        json!({"type": "string", "enum": ["a", "b"]}),
        &[
            (json!("a"), &[], &[]),
            (json!("c"), &["literal_error"], &["literal_error"]),
            (json!(1), &["literal_error"], &["literal_error"]),
        ],
    );
    check(
        json!({"type": "integer", "enum": [5, 10]}),
        &[(json!(5.0), &[], &[]), (json!("5"), &["literal_error"], &["literal_error"])],
    );
    check(json!({"const": "x"}), &[(json!("y"), &["literal_error"], &["literal_error"])]);
    let voices: Vec<String> = (0..100).map(|n| format!("voice {}", n * 7 % 100)).collect();
    check(
        json!({"type": "string", "enum": voices}),
        &[
            (json!("voice 42"), &[], &[]),
            (json!("voice 100"), &["literal_error"], &["literal_error"]),
        ],
    );
    let model = model_with(
        &json!({"$ref": "#/components/schemas/Size"}),
        json!({"Size": {"type": "string", "enum": ["s", "m"]}}),
    );
    assert_eq!(problems(&model, &json!({"x": "l"}), Mode::AsFal), ["enum"]);
}

#[test]
fn lists_and_maps() {
    check(
        json!({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2}),
        &[
            (json!([]), &["too_short"], &["too_short"]),
            (json!([1, 2, 3]), &["too_long"], &["too_long"]),
            (json!(["1", "a"]), &[".0 int_type", ".1 int_type"], &[".1 int_parsing"]),
            (json!("a"), &["list_type"], &["list_type"]),
        ],
    );
    check(
        json!({"type": "array", "uniqueItems": true}),
        &[
            (json!([1, 1.0]), &["value_error"], &[]),
            (json!([1, [2]]), &[], &[".1 set_item_not_hashable"]),
            (json!([1, 2]), &[], &[]),
        ],
    );
    check(
        json!({"type": "array", "uniqueItems": true, "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
        &[
            (json!([1, "1"]), &[".1 int_type"], &["too_short"]),
            (json!([1, 2, "2"]), &["too_long"], &[]),
            (json!(["x", 1, 2, 3]), &["too_long"], &["too_long"]),
            (json!({}), &["set_type"], &["set_type"]),
        ],
    );
    check(
        json!({"type": "array", "prefixItems": [{"type": "string"}, {}], "minItems": 2, "maxItems": 2}),
        &[
            (json!([1]), &[".0 string_type"], &[".0 string_type", ".1 missing"]),
            (json!([1, 2, 3]), &["too_long"], &["too_long"]),
            (json!(1), &["tuple_type"], &["tuple_type"]),
        ],
    );
    check(
        json!({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "boolean"}}),
        &[(
            json!([1, [], true]),
            &[".0 string_type", ".1 bool_type"],
            &[".0 string_type", ".1 bool_type"],
        )],
    );
    check(
        json!({"type": "object", "additionalProperties": {"type": "number"}}),
        &[
            (json!({"a": 1, "b": "x"}), &[".b float_type"], &[".b float_parsing"]),
            (json!([]), &["dict_type"], &["dict_type"]),
        ],
    );
    check(
        json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false}),
        &[
            (json!({"a": 1, "b": 2}), &[".b extra_forbidden"], &[".b extra_forbidden"]),
            (json!(1), &["model_attributes_type"], &["model_attributes_type"]),
        ],
    );
}

#[test]
fn unions_report_each_alternative() {
    let size = json!({"title": "Size", "type": "object", "required": ["width"],
        "properties": {"width": {"type": "integer", "exclusiveMinimum": 0}}});
    let field = json!({"anyOf": [{"$ref": "#/components/schemas/ImageSize"},
        {"type": "string", "enum": ["big", "it's"]}, {"type": "null"}]});
    let model = model_with(&field, json!({"ImageSize": size}));
    for fine in [json!({"width": 1}), json!("big"), json!(null)] {
        assert_eq!(problems(&model, &json!({"x": fine}), Mode::Strict), [""; 0]);
    }
    let found = problems(&model, &json!({"x": {"width": 0}}), Mode::AsFal);
    assert_eq!(found, [".Size.width greater_than", ".literal['big',\"it's\"] literal_error"]);
    // One alternative beside null is not a union.
    check(
        json!({"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 0}]}),
        &[(json!(null), &[], &[]), (json!(-1), &["greater_than_equal"], &["greater_than_equal"])],
    );
    check(
        json!({"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 2}]}),
        &[
            (json!(1), &[], &[]),
            (json!(3), &["value_error"], &[]),
            (
                json!(0.5),
                &[".int int_from_float", ".constrained-float greater_than_equal"],
                &[".int int_from_float", ".constrained-float greater_than_equal"],
            ),
        ],
    );
    check(
        json!({"allOf": [{"minimum": 1}, {"maximum": 2}], "type": "integer", "nullable": true}),
        &[(json!(3), &["less_than_equal"], &["less_than_equal"]), (json!(null), &[], &[])],
    );
    let beside = json!({"$ref": "#/components/schemas/N", "maximum": 2, "description": "d"});
    let model = model_with(&beside, json!({"N": {"type": "integer", "minimum": 1}}));
    assert_eq!(problems(&model, &json!({"x": 0}), Mode::Strict), ["greater_than_equal"]);
    assert_eq!(problems(&model, &json!({"x": 3}), Mode::Strict), ["less_than_equal"]);
    let tags = json!({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "boolean"},
        {"type": "object", "additionalProperties": {"type": "number"}}, {"type": "object"}]});
    let found = problems(&model_of(&tags), &json!({"x": 7}), Mode::Strict);
    let wanted = [
        ".list[str] list_type",
        ".bool bool_type",
        ".dict[str,float] dict_type",
        ".dict[str,any] dict_type",
    ];
    assert_eq!(found, wanted);
}

/// All problems at once, in the order of the fields, in the service's shape.
#[test]
fn problems_have_the_shape_of_the_service() {
    let input = json!({"type": "object", "required": ["prompt"],
    "x-fal-order-properties": ["prompt", "steps", "scale", "format", "urls"],
    "properties": {
        "format": {"type": "string", "enum": ["jpeg", "png", "webp"]},
        "prompt": {"type": "string"},
        "scale": {"type": "number", "minimum": 1, "maximum": 20},
        "steps": {"type": "integer", "maximum": 50},
        "urls": {"type": "array", "items": {"type": "string"}, "minItems": 1}
    }});
    let model = ModelSchema::from_value(&document(input, json!({}))).unwrap();
    let input = json!({"format": "gif", "scale": 0.5, "steps": 51, "urls": [], "new": 1});
    let url = |name: &str| format!("https://docs.fal.ai/errors#{name}");
    let wanted = json!({"detail": [
        {"loc": ["body", "prompt"], "msg": "Field required", "type": "missing", "url": url("missing"),
            "input": input},
        {"loc": ["body", "steps"], "msg": "Input should be less than or equal to 50",
            "type": "less_than_equal", "url": url("less_than_equal"), "ctx": {"le": 50}, "input": 51},
        {"loc": ["body", "scale"], "msg": "Input should be greater than or equal to 1",
            "type": "greater_than_equal", "url": url("greater_than_equal"), "ctx": {"ge": 1.0}, "input": 0.5},
        {"loc": ["body", "format"], "msg": "Input should be 'jpeg', 'png' or 'webp'",
            "type": "literal_error", "url": url("literal_error"),
            "ctx": {"expected": "'jpeg', 'png' or 'webp'"}, "input": "gif"},
        {"loc": ["body", "urls"], "msg": "List should have at least 1 item after validation, not 0",
            "type": "too_short", "url": url("too_short"),
            "ctx": {"field_type": "List", "min_length": 1, "actual_length": 0}, "input": []},
    ]});
    assert_eq!(model.validate(&input, Mode::AsFal).to_json(), wanted);
    let lenient = model.validate(&input, Mode::Lenient);
    assert_eq!((lenient.problems().len(), lenient.warnings().len()), (1, 4));
    assert!(!model.is_valid(&input, Mode::Lenient));
}

#[test]
fn older_dialect_takes_null_where_it_may_be_meant() {
    let input = json!({"type": "object", "required": ["prompt"], "properties": {
        "prompt": {"type": "string"}, "seed": {"type": "integer"},
        "steps": {"type": "integer", "default": 4}, "name": {"type": "string", "default": null}}});
    let model = ModelSchema::from_value(&document(input, json!({}))).unwrap();
    assert_eq!(model.dialect(), Dialect::NullsFolded);
    let input = json!({"prompt": null, "seed": null, "steps": null, "name": null});
    assert_eq!(problems(&model, &input, Mode::AsFal), [".prompt string_type", ".steps int_type"]);
    assert_eq!(problems(&model, &input, Mode::Strict).len(), 4);
}

#[test]
fn inputs_are_completed() {
    let file = json!({"type": "object", "required": ["url"], "title": "File",
        "properties": {"url": {"type": "string"}, "content_type": {"type": "string"}}});
    let size = json!({"type": "object", "properties": {
        "width": {"type": "integer", "default": 512}, "height": {"type": "integer", "default": 512}}});
    let input = json!({"type": "object", "required": ["prompt"], "properties": {
        "prompt": {"type": "string", "default": "never"},
        "steps": {"type": "integer", "default": 28},
        "safe": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "image": {"$ref": "#/components/schemas/File"},
        "size": {"default": "big", "anyOf": [{"$ref": "#/components/schemas/Size"},
            {"type": "string", "enum": ["big"]}]},
        "scales": {"type": "array", "items": {"type": "number"}}
    }});
    let model =
        ModelSchema::from_value(&document(input, json!({"File": file, "Size": size}))).unwrap();
    assert_eq!(model.complete(&json!({})), json!({"steps": 28, "size": "big"}));
    let input = json!({"steps": "4", "safe": "off", "image": "https://x/a.png", "size": {"width": 8.0},
        "scales": ["0.5", true], "unknown": [1]});
    let wanted = json!({"steps": 4, "safe": false, "image": {"url": "https://x/a.png"},
        "size": {"width": 8, "height": 512}, "scales": [0.5, 1], "unknown": [1]});
    assert_eq!(model.complete(&input), wanted);
    assert_eq!(problems(&model, &json!({"image": "a.png"}), Mode::AsFal).len(), 2);
}

#[test]
fn defects_are_noted_and_worked_around() {
    #[track_caller]
    fn check(field: Value, kind: DefectKind) {
        let model = model_of(&field);
        let kinds: Vec<_> = model.defects().iter().map(|defect| defect.kind.clone()).collect();
        assert_eq!(kinds, [kind], "{field}");
        assert_eq!(&*model.defects()[0].at, "input.x", "{field}");
    }
    let lost = json!({"$ref": "#/components/schemas/Lost"});
    check(
        lost.clone(),
        DefectKind::DanglingReference { target: "#/components/schemas/Lost".into() },
    );
    assert!(model_of(&lost).is_valid(&json!({"x": [{}]}), Mode::Strict));
    check(json!({"type": "string", "default": 129}), DefectKind::DefaultMismatch);
    let examples = json!({"type": "array", "items": {"type": "string"}, "examples": [["a"], "a"]});
    check(examples, DefectKind::ExampleMismatch { index: 1 });
    check(json!({"ge": 1}), DefectKind::Stray { keyword: "ge" });
    check(json!({"max": 1}), DefectKind::Stray { keyword: "max" });
    check(json!({"not": {}}), DefectKind::Unchecked { keyword: "not" });
    check(json!({"pattern": "a|b"}), DefectKind::Unchecked { keyword: "pattern" });
    check(json!({"minimum": "1"}), DefectKind::Malformed { keyword: "minimum" });
    check(json!({"exclusiveMinimum": true}), DefectKind::Malformed { keyword: "exclusiveMinimum" });
    check(json!(5), DefectKind::NotASchema);
    check(json!({"required": ["y"]}), DefectKind::RequiredUnknown { name: "y".into() });
    let disordered = json!({"properties": {"a": {}}, "x-fal-order-properties": ["b"]});
    check(disordered, DefectKind::OrderMismatch);
    check(json!({"enum": ["Hope", "Hope "]}), DefectKind::EnumTwins { member: "Hope".into() });
    check(json!({"enum": ["", "a"]}), DefectKind::EnumEmptyMember);
    let binary = json!({"anyOf": [{"type": "object"}, {"type": "string", "format": "binary"}]});
    check(binary, DefectKind::BinaryAlternative);
    let tuple =
        json!({"type": "array", "items": {"0": {"type": "number"}, "1": {"type": "string"}}});
    check(tuple.clone(), DefectKind::BrokenTuple);
    assert_eq!(
        problems(&model_of(&tuple), &json!({"x": [1, 2]}), Mode::Strict),
        [".1 string_type"]
    );
}

#[test]
fn fields_come_in_the_order_of_the_service() {
    let names = |input: Value| {
        let model = ModelSchema::from_value(&document(input, json!({}))).unwrap();
        let names =
            model.input().resolved().fields().map(|f| f.name.to_owned()).collect::<Vec<_>>();
        names.join(" ")
    };
    let properties = json!({"a": {}, "b": {}, "c": {}});
    let order = ["c", "a", "b"];
    assert_eq!(names(json!({"properties": properties, "x-fal-order-properties": order})), "c a b");
    assert_eq!(names(json!({"properties": properties, "required": ["b"]})), "b a c");
}

#[test]
fn roots_are_found_through_the_paths() {
    let answer = |name: &str| {
        json!({"responses": {"200": {"content": {"application/json": {
        "schema": {"$ref": format!("#/components/schemas/{name}")}}}}}})
    };
    let mut post = answer("QueueStatus");
    post["requestBody"]["content"]["application/json"]["schema"] =
        json!({"$ref": "#/components/schemas/Gone"});
    let document = json!({
        "info": {"title": "T", "x-fal-metadata": {"endpointId": "acme/x", "category": "c"}},
        "paths": {"/acme/x": {"post": post},
            "/acme/x/requests/{request_id}": {"get": answer("Out")},
            "/acme/x/requests/{request_id}/status": {"get": answer("QueueStatus")}},
        "components": {"schemas": {"Out": {"properties": {"seed": {"type": "integer"}}}}}
    });
    let model = ModelSchema::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!((model.endpoint_id(), model.category()), (Some("acme/x"), Some("c")));
    assert_eq!(model.output().resolved().component(), Some("Out"));
    assert!(model.defects().iter().any(|defect| defect.kind == DefectKind::MissingInput));
    assert!(model.is_valid(&json!(["anything"]), Mode::Strict));

    let dump = json!({"models": [{"endpoint_id": "acme/x", "openapi": document},
        {"endpoint_id": "acme/y", "openapi": {"error": {"message": "expansion failed"}}}]});
    let entries = parse_dump(dump.to_string().as_bytes()).unwrap();
    assert!(entries[0].model.is_ok());
    let refused = SchemaError::Refused { message: "expansion failed".into() };
    assert_eq!(entries[1].model.as_ref().unwrap_err(), &refused);
    assert_eq!(ModelSchema::from_value(&dump).unwrap_err(), SchemaError::NotOneModel { count: 2 });
    assert_eq!(ModelSchema::parse(b"{}").unwrap_err(), SchemaError::NoOperation);
    assert!(matches!(ModelSchema::parse(b"{"), Err(SchemaError::NotJson { .. })));
}

#[test]
fn circles_and_depths_end() {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let model = model_with(&reference("A"), json!({"A": reference("B"), "B": reference("A")}));
    assert!(model.defects().iter().any(|defect| defect.kind == DefectKind::CyclicReference));
    assert!(model.is_valid(&json!({"x": 1}), Mode::Strict));
    assert!(!model.input().is_nullable());

    // Each look at A looks twice at A: only a budget ends this.
    let twice = json!({"anyOf": [reference("A"), reference("A")]});
    let model = model_with(&reference("A"), json!({"A": twice}));
    assert_eq!(problems(&model, &json!({"x": 1}), Mode::AsFal), ["recursion_loop"]);
    assert_eq!(model.complete(&json!({"x": 1})), json!({"x": 1}));

    // A tree is fine, down to a depth.
    let tree = json!({"type": "object", "properties": {"next": reference("Tree")}});
    let model = model_with(&reference("Tree"), json!({"Tree": tree}));
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"next": inner}));
    assert!(model.is_valid(&json!({"x": nested(10)}), Mode::Strict));
    assert!(!model.is_valid(&json!({"x": nested(DEPTH_MAX)}), Mode::Strict));

    let deep = (0..100).fold(json!({}), |inner, _| json!({"items": inner}));
    let has = |model: &ModelSchema, kind| model.defects().iter().any(|defect| defect.kind == kind);
    assert!(has(&model_of(&deep), DefectKind::TooDeep));
    let wide = json!({"anyOf": vec![json!({}); NODES_MAX]});
    assert!(has(&model_of(&wide), DefectKind::TooManyNodes));
}

#[test]
fn reports_are_bounded() {
    let model = model_of(&json!({"type": "array", "items": {"type": "integer"}}));
    let input = json!({"x": vec!["é".repeat(ECHO_BYTES_MAX); 2 * PROBLEMS_MAX]});
    let report = model.validate(&input, Mode::AsFal);
    assert_eq!(report.problems().len(), PROBLEMS_MAX);
    let echoed = report.problems()[0].to_json()["input"].as_str().unwrap().len();
    assert!((ECHO_BYTES_MAX / 2..=ECHO_BYTES_MAX).contains(&echoed), "{echoed}");
    let model = model_of(&json!({"type": "string"}));
    let whole = model.validate(&input, Mode::AsFal).problems()[0].to_json().to_string();
    assert!(whole.len() < 2 * ECHO_BYTES_MAX, "{}", whole.len());
}

/// JSON whose names and texts are likely to mean something in a schema.
fn schema_like() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "type",
        "properties",
        "required",
        "items",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "enum",
        "const",
        "minimum",
        "multipleOf",
        "maxLength",
        "pattern",
        "minItems",
        "uniqueItems",
        "prefixItems",
        "additionalProperties",
        "nullable",
        "default",
        "examples",
        "x-fal-order-properties",
        "x",
        "0",
        "string",
        "integer",
        "number",
        "object",
        "array",
        "null",
        "boolean",
        "#",
        "#/components",
        "#/components/schemas/Input",
        "#/components/schemas/Input/properties/x",
        "^(a{2}){3}$",
        "[",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..4_i64).prop_map(Value::from),
        (-3.0..3.0).prop_map(Value::from),
        words.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(words.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_schema_and_any_input_get_an_answer(schema in schema_like(), input in schema_like()) {
        let model = ModelSchema::from_value(&document(schema, json!({}))).unwrap();
        for mode in [Mode::Strict, Mode::AsFal, Mode::Lenient] {
            let report = model.validate(&input, mode);
            prop_assert_eq!(report.is_valid(), model.is_valid(&input, mode));
            for problem in report.problems() {
                prop_assert!(problem.to_json().is_object() && !problem.to_string().is_empty());
            }
        }
        let _ = (model.complete(&input), model.input().is_nullable(), format!("{model:?}"));
    }
}
