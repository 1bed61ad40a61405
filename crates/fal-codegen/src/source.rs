//! Where documents come from, and where the code goes.

use std::fs;
use std::path::{Path, PathBuf};

use fal_protocol::EndpointId;
use fal_protocol::schema::{ModelSchema, SchemaError, parse_dump};

use crate::Error;

/// The models of a document, or of a dump of many.
pub(crate) fn models(bytes: &[u8], place: &str) -> Result<Vec<(EndpointId, ModelSchema)>, Error> {
    let wrong = |source: SchemaError| Error::Document { place: place.into(), source };
    let entries = match parse_dump(bytes) {
        Ok(entries) => entries,
        Err(SchemaError::NotADump) => {
            let model = ModelSchema::parse(bytes).map_err(wrong)?;
            return Ok(vec![(id_of(&model, place)?, model)]);
        }
        Err(error) => return Err(wrong(error)),
    };
    let models = entries.into_iter().map(|entry| {
        let place = match &entry.endpoint_id {
            Some(id) => format!("{place}: {id}"),
            None => place.to_owned(),
        };
        let model = entry.model;
        let model =
            model.map_err(|source| Error::Document { place: place.as_str().into(), source })?;
        Ok((id_of(&model, &place)?, model))
    });
    models.collect()
}

pub(crate) fn id_of(model: &ModelSchema, place: &str) -> Result<EndpointId, Error> {
    let id = model.endpoint_id().ok_or_else(|| Error::Id { place: place.into(), source: None })?;
    EndpointId::parse(id).map_err(|error| Error::Id { place: place.into(), source: Some(error) })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// The documents directly in a folder, by name.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let wrong = |source| Error::File { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|ending| ending == "json") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Error::Empty { place: folder.display().to_string().into() }),
        false => Ok(files),
    }
}

pub(crate) fn write(path: &Path, text: &str) -> Result<bool, Error> {
    let wrong = |source| Error::File { path: path.to_owned(), source };
    match fs::read(path) {
        // The same text keeps its date, so that nothing is compiled again.
        Ok(known) if known == text.as_bytes() => return Ok(false),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrong(error)),
        _ => {}
    }
    fs::write(path, text).map_err(wrong)?;
    Ok(true)
}
