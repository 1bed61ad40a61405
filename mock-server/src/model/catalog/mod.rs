//! The models that the mock knows: their documents, what the platform says of them, their prices.

mod load;
mod metadata;
mod packed;
mod price;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use fal_protocol::schema::ModelSchema;

pub use load::{LoadError, Loaded};
pub(crate) use metadata::Metadata;
use packed::Packed;
pub use price::PricesError;
pub(crate) use price::{CURRENCY, Price};

/// Model documents by endpoint id.
///
/// A document is kept parsed, for validation and answers, and its text compressed, to be served back:
/// together about a fifth of its size on disk.
#[derive(Clone, Default)]
pub struct Catalog {
    entries: BTreeMap<Box<str>, Arc<Entry>>,
    /// The apps of all entries.
    apps: BTreeSet<Box<str>>,
    prices: BTreeMap<Box<str>, Price>,
}

/// What is known of one endpoint.
pub(crate) struct Entry {
    pub(crate) id: Box<str>,
    pub(crate) metadata: Metadata,
    pub(crate) document: Result<Arc<Document>, Box<str>>,
}

/// A document that can be used.
pub(crate) struct Document {
    pub(crate) schema: ModelSchema,
    text: Packed,
    /// Whether it came with the mock; then the tables of [`endpoint`](super::endpoint) come first.
    pub(crate) is_bundled: bool,
}

impl Catalog {
    /// A catalog without any document.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The documents that come with the mock, made for it: one or two for each kind of model.
    #[must_use]
    pub fn bundled() -> Self {
        Self::clone(&Self::shared())
    }

    /// The same, read once for all mocks of a process.
    pub(crate) fn shared() -> Arc<Self> {
        static BUNDLED: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
            let mut catalog = Catalog::empty();
            for text in BUNDLED_DUMPS {
                catalog.add_bundled(text.as_bytes());
            }
            Arc::new(catalog)
        });
        Arc::clone(&BUNDLED)
    }

    /// How many endpoints it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The ids of the endpoints that it knows, in order.
    pub fn endpoint_ids(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|id| &**id)
    }

    /// The parsed document of an endpoint, if there is one that can be used.
    #[must_use]
    pub fn schema(&self, endpoint_id: &str) -> Option<&ModelSchema> {
        Some(&self.document(endpoint_id)?.schema)
    }

    /// The document of an endpoint as JSON, as it was loaded up to the order of its keys.
    #[must_use]
    pub fn document_text(&self, endpoint_id: &str) -> Option<Bytes> {
        Some(self.document(endpoint_id)?.text())
    }

    pub(crate) fn get(&self, endpoint_id: &str) -> Option<&Entry> {
        self.entries.get(endpoint_id).map(|entry| &**entry)
    }

    pub(crate) fn document(&self, endpoint_id: &str) -> Option<&Document> {
        self.get(endpoint_id)?.document.as_deref().ok()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|entry| &**entry)
    }

    /// Whether any endpoint of the app is known.
    pub(crate) fn knows_app(&self, app: &str) -> bool {
        self.apps.contains(app)
    }

    /// The prices that tables say, without those that are only usual.
    pub(crate) fn listed_prices(&self) -> impl Iterator<Item = (&str, &Price)> {
        self.prices.iter().map(|(id, price)| (&**id, price))
    }

    /// What an endpoint costs; `None` if it is not known.
    pub(crate) fn price(&self, endpoint_id: &str) -> Option<Price> {
        self.prices.get(endpoint_id).cloned().or_else(|| {
            let entry = self.get(endpoint_id)?;
            Some(Price::usual(&entry.metadata.category))
        })
    }
}

impl Document {
    pub(crate) fn text(&self) -> Bytes {
        self.text.unpack()
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("endpoints", &self.entries.len())
            .field("prices", &self.prices.len())
            .finish_non_exhaustive()
    }
}

/// One dump for each kind of model. Field names and limits follow what the service publishes for
/// endpoints of these ids; texts, examples and prices are ours.
const BUNDLED_DUMPS: [&str; 9] = [
    include_str!("../../../models/background-removal.json"),
    include_str!("../../../models/controlnet.json"),
    include_str!("../../../models/image-to-3d.json"),
    include_str!("../../../models/image-to-image.json"),
    include_str!("../../../models/llm.json"),
    include_str!("../../../models/text-to-image.json"),
    include_str!("../../../models/text-to-speech.json"),
    include_str!("../../../models/text-to-video.json"),
    include_str!("../../../models/training.json"),
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document(id: &str) -> Value {
        json!({
            "info": {"description": "Paints.", "x-fal-metadata": {"endpointId": id, "category": "text-to-image"}},
            "paths": {format!("/{id}"): {"post": {"requestBody": {"content": {"application/json": {"schema": {
                "type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}
            }}}}}}}
        })
    }

    #[test]
    fn documents_and_dumps_are_taken() {
        let mut catalog = Catalog::empty();
        let one = document("acme/paint/fast");
        let loaded = catalog.add(one.to_string().as_bytes()).unwrap();
        assert_eq!((loaded.documents, loaded.unusable.len()), (1, 0));
        let dump = json!({"models": [
            {"endpoint_id": "acme/draw", "openapi": document("acme/draw"), "metadata": {"display_name": "Draw", "tags": ["new"]}},
            {"endpoint_id": "acme/gone", "openapi": {"error": {"code": "expansion_failed", "message": "no"}}},
            {"endpoint_id": "acme/paint/fast", "metadata": {"display_name": "Paint", "category": "text-to-image"}},
            {"metadata": {}}
        ]});
        let loaded = catalog.add(dump.to_string().as_bytes()).unwrap();
        assert_eq!((loaded.documents, loaded.unusable.len()), (1, 2), "{loaded:?}");
        let ids: Vec<&str> = catalog.endpoint_ids().collect();
        assert_eq!(ids, ["acme/draw", "acme/gone", "acme/paint/fast"]);
        assert!(catalog.schema("acme/gone").is_none() && catalog.get("acme/gone").is_some());
        assert!(catalog.knows_app("acme/paint") && !catalog.knows_app("acme/paint/fast"));
        let text = catalog.document_text("acme/paint/fast").unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), one);
        let entry = catalog.get("acme/paint/fast").unwrap();
        assert_eq!(
            &*entry.metadata.display_name, "Paint",
            "metadata alone replaces metadata alone"
        );
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let mut catalog = Catalog::empty();
        for text in ["", "{}", "[]", "{\"paths\":{}}", "{\"models\":3}"] {
            assert!(catalog.add(text.as_bytes()).is_err(), "{text}");
        }
        let no_id = json!({"paths": {"/": {"post": {}}}}).to_string();
        assert!(catalog.add(no_id.as_bytes()).is_err(), "an endpoint needs an id");
        assert!(catalog.is_empty());
    }

    #[test]
    fn bundled_documents_are_without_defects() {
        let catalog = Catalog::bundled();
        assert!(catalog.len() >= 6);
        for entry in catalog.entries() {
            let document = entry.document.as_ref().unwrap();
            assert_eq!(document.schema.defects(), [], "{}", entry.id);
            assert!(document.schema.input().resolved().fields().len() > 0, "{}", entry.id);
            assert!(catalog.price(&entry.id).is_some());
        }
    }

    #[test]
    fn prices_are_loaded_or_usual() {
        let mut catalog = Catalog::empty();
        catalog.add(document("acme/paint").to_string().as_bytes()).unwrap();
        assert_eq!(&*catalog.price("acme/paint").unwrap().unit, "images");
        assert!(catalog.price("acme/other").is_none());
        let table = r#"{"prices":[{"endpoint_id":"acme/other","unit_price":0.5,"unit":""}]}"#;
        assert_eq!(catalog.add_prices(table.as_bytes()), Ok(1));
        let price = catalog.price("acme/other").unwrap();
        assert_eq!((price.unit_price, &*price.unit, &*price.currency), (0.5, "", CURRENCY));
        for bad in ["", "[]", r#"{"prices":[{"endpoint_id":"a/b","unit_price":-1,"unit":"x"}]}"#] {
            assert!(catalog.add_prices(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
