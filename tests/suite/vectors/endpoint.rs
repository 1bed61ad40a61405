use fal_conformance::vectors::Vector;
use fal_protocol::EndpointId;

use super::expect;

/// `given.id` has these parts, or is refused.
pub(super) fn run(vector: &Vector) -> Result<(), String> {
    let text = vector.part("given")["id"].as_str().expect("the schema requires it");
    let expected = vector.part("expect");
    let parsed = EndpointId::parse(text);
    if expected["refused"] == true {
        return match parsed {
            Ok(id) => Err(format!("it was taken as {id:?}")),
            Err(_) => Ok(()),
        };
    }
    let id = parsed.map_err(|error| format!("it was refused: {error}"))?;
    for (name, found) in [
        ("namespace", id.namespace()),
        ("owner", Some(id.owner())),
        ("alias", Some(id.alias())),
        ("path", id.path()),
        ("environment", id.environment()),
        ("app", Some(id.app())),
        ("id", Some(id.as_str())),
        ("stream_path", Some(id.stream_path().as_str())),
    ] {
        expect(expected, name, found)?;
    }
    Ok(())
}
