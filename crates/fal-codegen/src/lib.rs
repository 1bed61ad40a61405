#![doc = include_str!("../README.md")]

mod docs;
mod emit;
mod names;
mod shape;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use fal_protocol::schema::{ModelSchema, SchemaError};
use fal_protocol::{EndpointId, InputError};

use crate::emit::Emitter;
use crate::names::Scope;

/// Collects models and writes their types.
///
/// The same documents give the same text, in whatever order they were added.
///
/// ```
/// let document = br##"{
///     "paths": {"/acme/paint": {"post": {"requestBody": {"content": {"application/json": {
///         "schema": {"$ref": "#/components/schemas/PaintInput"}
///     }}}}}},
///     "components": {"schemas": {"PaintInput": {
///         "type": "object",
///         "required": ["prompt"],
///         "properties": {"prompt": {"type": "string"}, "steps": {"type": "integer", "maximum": 50}}
///     }}}
/// }"##;
/// let code = fal_codegen::Generator::new().document(document)?.generate()?;
/// assert!(code.text().contains("pub fn new(prompt: impl Into<String>) -> Self"));
/// assert!(code.text().contains("pub fn steps(mut self, steps: i64) -> Self"));
/// # Ok::<(), fal_codegen::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is written until `generate`"]
pub struct Generator {
    /// By endpoint id, so that the order of adding does not matter.
    models: BTreeMap<EndpointId, ModelSchema>,
    files: Vec<PathBuf>,
    options: Options,
}

#[derive(Clone, Debug)]
struct Options {
    has_descriptions: bool,
    client: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { has_descriptions: true, client: "fal_client".to_owned() }
    }
}

impl Generator {
    /// Without models.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the models of a document: the OpenAPI document of one model, or an answer of the platform API,
    /// `{"models": [...]}`. A model that was added before is replaced.
    ///
    /// # Errors
    /// [`Error::Document`] when it is neither, or when a model in it has no document.
    pub fn document(mut self, bytes: &[u8]) -> Result<Self, Error> {
        for (id, model) in source::models(bytes, "the document")? {
            self.models.insert(id, model);
        }
        Ok(self)
    }

    /// Adds the models of a file; see [`document`](Self::document).
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, and those of [`document`](Self::document).
    pub fn file(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = source::read(path)?;
        for (id, model) in source::models(&bytes, &path.display().to_string())? {
            self.models.insert(id, model);
        }
        self.files.push(path.to_owned());
        Ok(self)
    }

    /// Adds the models of every `.json` file directly in a folder.
    ///
    /// # Errors
    /// As [`file`](Self::file), and [`Error::Empty`] when there is no such file.
    pub fn folder(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        for file in source::files(path)? {
            self = self.file(file)?;
        }
        // A new file in it changes what is generated.
        self.files.push(path.to_owned());
        Ok(self)
    }

    /// Adds a model that is loaded already.
    ///
    /// # Errors
    /// [`Error::Id`] when it does not say which endpoint it is.
    pub fn model(mut self, model: ModelSchema) -> Result<Self, Error> {
        let id = source::id_of(&model, "the model")?;
        self.models.insert(id, model);
        Ok(self)
    }

    /// Whether descriptions of the documents become doc comments. Default true. They are the words of the
    /// models' authors: leave them out of what you publish, unless you may.
    pub const fn descriptions(mut self, has_descriptions: bool) -> Self {
        self.options.has_descriptions = has_descriptions;
        self
    }

    /// Sets the path of the client's crate, where it goes by another name. Default `fal_client`.
    pub fn client(mut self, path: impl Into<String>) -> Self {
        self.options.client = path.into();
        self
    }

    /// The files and folders that were added: what a build script watches.
    #[must_use]
    pub fn inputs(&self) -> &[PathBuf] {
        &self.files
    }

    /// Writes the types.
    ///
    /// # Errors
    /// [`Error::Empty`] without models, and [`Error::Client`] when the path set by [`client`](Self::client) is none.
    pub fn generate(&self) -> Result<Code, Error> {
        if self.models.is_empty() {
            return Err(Error::Empty { place: "the generator".into() });
        }
        if syn::parse_str::<syn::Path>(&self.options.client).is_err() {
            return Err(Error::Client { path: self.options.client.clone().into() });
        }
        let (mut modules, mut types) = (Scope::default(), Scope::default());
        let mut endpoints = Vec::new();
        let mut body = String::from(HEADER);
        let mut uses = Vec::new();
        let mut code = Vec::new();
        for (id, model) in &self.models {
            let owner = names::field(id.owner());
            let module = names::module(id);
            let module = modules.give([module.clone(), format!("{owner}_{module}")]);
            let type_name = names::input_type(id);
            let owner = names::type_name(id.owner());
            let type_name = types.give([type_name.clone(), format!("{owner}{type_name}")]);
            let endpoint = shape::endpoint(model, id, names::escaped(&module), type_name);
            let input = &endpoint.items[endpoint.input].name;
            uses.push(format!("{}::{input}", endpoint.module));
            let text = formatted(&Emitter::new(&self.options, &endpoint).module())?;
            endpoints.push(Generated {
                id: id.clone(),
                module: endpoint.module.clone().into(),
                input: input.as_str().into(),
                output: endpoint.items[endpoint.output].name.as_str().into(),
                lines: text.lines().count() + 1,
            });
            code.push(text);
        }
        body.push_str(&formatted(&format!(
            "#[rustfmt::skip] #[allow(unreachable_pub, unused_imports, reason = {:?})] pub use self::{{{}}};",
            emit::UNUSED,
            uses.join(", ")
        ))?);
        for text in code {
            body.push('\n');
            body.push_str(&text);
        }
        Ok(Code { text: body, endpoints })
    }
}

fn formatted(code: &str) -> Result<String, Error> {
    let file = syn::parse_file(code)
        .map_err(|error| Error::Syntax { problem: error.to_string().into() })?;
    Ok(prettyplease::unparse(&file))
}

/// Generated types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    text: String,
    endpoints: Vec<Generated>,
}

impl Code {
    /// The source, formatted.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was generated, in the order of the ids.
    #[must_use]
    pub fn endpoints(&self) -> &[Generated] {
        &self.endpoints
    }

    /// Writes the source into a file, unless it is what the file holds already. `true` if it was written.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read or written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<bool, Error> {
        source::write(path.as_ref(), &self.text)
    }
}

/// One endpoint of generated types.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Generated {
    /// Its id.
    pub id: EndpointId,
    /// The module that its types are in.
    pub module: Box<str>,
    /// The type of its input.
    pub input: Box<str>,
    /// The type of its output, inside the module.
    pub output: Box<str>,
    /// How many lines it took.
    pub lines: usize,
}

/// Why there is nothing generated.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A document could not be used.
    Document {
        /// Where it came from.
        place: Box<str>,
        /// What is wrong with it.
        source: SchemaError,
    },
    /// A model has no usable id.
    Id {
        /// Where it came from.
        place: Box<str>,
        /// What is wrong with the id; `None` when there is none.
        source: Option<InputError>,
    },
    /// There is no model.
    Empty {
        /// Where none was found.
        place: Box<str>,
    },
    /// The path of the client's crate is no path.
    Client {
        /// The path as given.
        path: Box<str>,
    },
    /// What was generated is not Rust: a bug of this crate.
    Syntax {
        /// What the parser said.
        problem: Box<str>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Document { place, source } => write!(f, "{place}: {source}"),
            Self::Id { place, source: Some(source) } => write!(f, "{place}: {source}"),
            Self::Id { place, source: None } => {
                write!(f, "{place} does not say which endpoint it is")
            }
            Self::Empty { place } => write!(f, "{place} has no model: add a document (.json)"),
            Self::Client { path } => write!(f, "{path:?} is not the path of a crate"),
            Self::Syntax { problem } => {
                write!(
                    f,
                    "the generated code is not Rust, which is a bug of fal-codegen: {problem}"
                )
            }
        }
    }
}

/// The message is whole, so there is no source to print after it: the causes are in the variants.
impl std::error::Error for Error {}

const HEADER: &str =
    "// Generated by fal-codegen from the models' OpenAPI documents. Changes are lost.\n\n";

#[cfg(test)]
mod tests;
