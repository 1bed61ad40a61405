//! The types of the documents that belong to this repository, as a build script wrote them: examples, calls, limits.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::path::Path;

use fal_client::typed::Endpoint as _;
use fal_client::{Client, Input};
use fal_codegen_check::fal;
use fal_codegen_check::play::{Tally, Types, types};
use fal_mock::MockFal;
use fal_protocol::schema::parse_dump;

async fn mock() -> (MockFal, Client) {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = Client::builder().base_url(mock.url()).key("id:secret").build().unwrap();
    (mock, client)
}

#[test]
fn examples_come_back_as_they_were() {
    let types: [Types; 9] = [
        types::<fal::AnyLlm>(),
        types::<fal::BirefnetV2>(),
        types::<fal::ControlnetIpAdapter>(),
        types::<fal::FluxDevImageToImage>(),
        types::<fal::FluxLoraFastTraining>(),
        types::<fal::FluxSchnell>(),
        types::<fal::KokoroAmericanEnglish>(),
        types::<fal::LtxVideo>(),
        types::<fal::Trellis>(),
    ];
    let (mut tally, mut played) = (Tally::default(), 0);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../mock-server/models");
    for entry in std::fs::read_dir(folder).unwrap() {
        let dump = std::fs::read(entry.unwrap().path()).unwrap();
        for entry in parse_dump(&dump).unwrap() {
            let id = entry.endpoint_id.unwrap();
            let types = types.iter().find(|types| *types.id == *id);
            let types = types.unwrap_or_else(|| panic!("add the types of {id} to the list"));
            tally.play(&entry.model.unwrap(), *types);
            played += 1;
        }
    }
    assert_eq!(played, types.len(), "the list names a model whose document is gone");
    assert!(tally.failures.is_empty() && tally.unfit.is_empty(), "{tally}");
    assert!(tally.same > 0, "{tally}");
}

#[tokio::test]
async fn pictures_texts_and_films_are_typed_from_end_to_end() {
    let (_mock, client) = mock().await;
    let input = fal::FluxSchnell::new("a cat")
        .num_images(2)
        .image_size(fal::flux_schnell::ImageSize::SquareHd)
        .output_format(fal::flux_schnell::OutputFormat::Png);
    let pictures = client.subscribe(input).await.unwrap();
    assert_eq!(pictures.images.len(), 2);
    assert_eq!((pictures.images[0].width, pictures.images[0].height), (Some(1024), Some(1024)));
    assert_eq!(pictures.prompt.as_deref(), Some("a cat"));

    let input = fal::FluxDevImageToImage::new("a dog", &pictures.images[0]);
    assert!(!client.run(input).await.unwrap().images.is_empty());

    let mut stream = client.stream(fal::AnyLlm::new("hi")).start();
    let mut last = String::new();
    while let Some(text) = stream.next_value().await {
        last = text.unwrap().output;
    }
    assert!(!last.is_empty());
    assert_eq!(stream.await.unwrap().output, last);

    let queue = client.queue_of::<fal::LtxVideo>().unwrap();
    let handle = queue.submit(fal::LtxVideo::new("a wave")).await.unwrap();
    queue.watch(&handle).await.unwrap();
    assert!(queue.result(&handle).await.unwrap().video.url.starts_with("http"));
}

#[tokio::test]
async fn files_are_uploaded_from_where_they_are_marked() {
    let (mock, client) = mock().await;
    let archive = Input::bytes(b"PK".as_slice(), "application/zip").named("pictures.zip");
    let trained =
        client.subscribe(fal::FluxLoraFastTraining::new(archive).steps(10)).await.unwrap();
    assert!(trained.diffusers_lora_file.url.starts_with("http"));
    assert_eq!(mock.counters().uploads, 1);
}

#[test]
fn limits_of_the_document_are_known_before_a_call() {
    let input = fal::FluxSchnell::new("a cat").num_inference_steps(13);
    let problem = input.check().unwrap_err();
    assert_eq!(problem.to_string(), "num_inference_steps: 13 is not allowed, but 1 to 12");
    let size = fal::flux_schnell::CustomImageSize::new().width(0);
    let input =
        fal::FluxSchnell::new("a cat").image_size(fal::flux_schnell::ImageSize::Custom(size));
    let problem = input.check().unwrap_err().to_string();
    assert!(problem.starts_with("image_size.width: 0 is not allowed, but "), "{problem}");
}

#[test]
fn what_is_not_set_is_not_sent() {
    let input = fal::FluxSchnell::new("a cat").num_images(1);
    assert_eq!(serde_json::to_string(&input).unwrap(), r#"{"prompt":"a cat","num_images":1}"#);
}

#[test]
fn code_in_the_repository_is_what_the_generator_writes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let document = root.join("mock-server/models/controlnet.json");
    let code = fal_codegen::Generator::new().file(document).unwrap().generate().unwrap();
    for path in ["crates/fal-cli/src/demo/model.rs", "crates/fal-client/examples/typed/model.rs"] {
        let known = std::fs::read_to_string(root.join(path)).unwrap();
        assert!(
            known == code.text(),
            "write {path} again: cargo run -p fal-cli -- codegen --schema mock-server/models/controlnet.json \
             --out {path}"
        );
    }
}

#[test]
fn the_build_script_is_that_of_the_readme() {
    let script = include_str!("../build.rs").replace("../../../mock-server/models", "models");
    let script = &script[script.find("fn main").unwrap()..];
    assert!(include_str!("../../README.md").contains(script));
}
