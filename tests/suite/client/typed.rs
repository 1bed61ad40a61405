//! Typed calls, with types as `fal-codegen` writes them: every way to call, uploads, limits, outputs that do not fit.

use std::time::Duration;

use fal_client::media::Image;
use fal_client::typed::{Endpoint, FileOrUrl, Range, Typed, limits};
use fal_client::{Error, ErrorKind, Input, InputError};
use fal_mock::MockFal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::support::{client, in_time};

#[derive(Clone, Debug, Serialize)]
struct FluxSchnell {
    prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_images: Option<i64>,
}

impl FluxSchnell {
    fn new(num_images: i64) -> Self {
        Self { prompt: "a cat".into(), num_images: Some(num_images) }
    }
}

#[derive(Debug, Deserialize)]
struct Pictures {
    images: Vec<Image>,
}

impl Endpoint for FluxSchnell {
    type Output = Pictures;
    const ID: &'static str = "fal-ai/flux/schnell";

    fn check(&self) -> Result<(), InputError> {
        limits::range("num_images", &self.num_images, Range::NONE.min(1.0).max(4.0))
    }
}

#[tokio::test]
async fn every_way_to_call_is_typed() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let output = in_time(client.subscribe(FluxSchnell::new(2))).await.unwrap();
    assert_eq!(output.images.len(), 2);
    let handle = output.raw().handle().unwrap().clone();
    assert_eq!(
        output.raw().value().unwrap()["prompt"],
        "a cat",
        "what the type leaves out is kept"
    );

    let output = in_time(client.run(FluxSchnell::new(1))).await.unwrap();
    assert_eq!(output.images.len(), 1);
    assert!(output.raw().handle().is_none() && output.raw().request_id().is_some());

    let mut job = client.subscribe(FluxSchnell::new(3)).start();
    while in_time(job.next_event()).await.is_some() {}
    assert_eq!(in_time(job).await.unwrap().images.len(), 3);

    let queue = client.queue_of::<FluxSchnell>().unwrap();
    let submitted = in_time(queue.submit(FluxSchnell::new(4))).await.unwrap();
    in_time(queue.watch(&submitted)).await.unwrap();
    let (pictures, raw) = in_time(queue.result(&submitted)).await.unwrap().into_parts();
    assert_eq!((pictures.images.len(), raw.handle()), (4, Some(&submitted)));

    let again = in_time(client.attach(handle).output_as::<Pictures>()).await.unwrap();
    assert_eq!(again.into_value().images.len(), 2);
}

#[tokio::test]
async fn streams_are_typed_event_by_event() {
    let mock = MockFal::builder().run_time(Duration::from_millis(100)).start().await.unwrap();
    let client = client(&mock.url());
    let mut stream = client.stream(FluxSchnell::new(1)).start();
    let mut seen = 0;
    while let Some(value) = in_time(stream.next_value()).await {
        assert_eq!(value.unwrap().images.len(), 1);
        seen += 1;
    }
    assert!(seen > 1);
    let output: Typed<Pictures> = in_time(stream).await.unwrap();
    assert_eq!(output.images.len(), 1);

    #[derive(Deserialize)]
    struct Text {
        output: String,
    }
    let call = client.stream("fal-ai/any-llm").input(json!({ "prompt": "hi" })).output_as::<Text>();
    assert!(!in_time(call).await.unwrap().output.is_empty());
}

#[tokio::test]
async fn limits_hold_before_anything_is_sent() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let queue = client.queue_of::<FluxSchnell>().unwrap();
    let many = || FluxSchnell::new(9);
    let problems = [
        in_time(client.subscribe(many())).await.unwrap_err(),
        in_time(client.run(many())).await.unwrap_err(),
        in_time(client.stream(many())).await.unwrap_err(),
        in_time(queue.submit(many())).await.unwrap_err(),
    ];
    for error in problems {
        assert_eq!(error.to_string(), "num_images: 9 is not allowed, but 1 to 4");
        let Some(ErrorKind::Input(InputError::Field { field, .. })) = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!(&**field, "num_images");
    }
    assert_eq!(mock.requests().len(), 0);
    // The service has the last word, if it is asked.
    let error = in_time(client.run(many().unchecked())).await.unwrap_err();
    assert_eq!(error.fields()[0].path(), "num_images");
}

#[tokio::test]
async fn files_of_typed_inputs_are_uploaded() {
    #[derive(Serialize)]
    struct Adapter {
        prompt: &'static str,
        reference_image_url: FileOrUrl,
        reference_pose_image_url: FileOrUrl,
        ip_archive_url: FileOrUrl,
    }
    impl Endpoint for Adapter {
        type Output = Pictures;
        const ID: &'static str = "fal-ai/controlnet-ip-adapter";
    }
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let before = in_time(client.run(FluxSchnell::new(1))).await.unwrap();
    let adapter = Adapter {
        prompt: "a cat",
        reference_image_url: Input::bytes(b"one".as_slice(), "image/png").named("one.png").into(),
        reference_pose_image_url: (&before.images[0]).into(),
        ip_archive_url: Input::bytes(b"two".as_slice(), "application/zip").inline().into(),
    };
    let model = in_time(client.model(Adapter::ID).into_future()).await.unwrap();
    assert!(model.check(&adapter).unwrap().is_valid());
    let output = in_time(client.subscribe(adapter)).await.unwrap();
    assert_eq!((output.images.len(), mock.counters().uploads), (1, 1));
    let requests = mock.requests();
    let submit = requests
        .iter()
        .find(|request| request.address.ends_with("/fal-ai/controlnet-ip-adapter"))
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&submit.request_body).unwrap();
    assert!(body["reference_image_url"].as_str().unwrap().ends_with("one.png"), "{body}");
    assert_eq!(body["reference_pose_image_url"], before.images[0].url);
    assert_eq!(body["ip_archive_url"], "data:application/zip;base64,dHdv");
}

#[tokio::test]
async fn an_output_that_does_not_fit_comes_back_whole() {
    #[derive(Serialize)]
    struct Wrong {}
    #[derive(Debug, Deserialize)]
    struct Film {
        #[expect(dead_code, reason = "it is never there")]
        video: String,
    }
    impl Endpoint for Wrong {
        type Output = Film;
        const ID: &'static str = "acme/paint";
    }
    let mock = MockFal::builder().instant().start().await.unwrap();
    let error = in_time(client(&mock.url()).subscribe(Wrong {})).await.unwrap_err();
    let Error::Decode(problem) = &error else { panic!("{error:?}") };
    assert!(problem.to_string().contains("missing field `video`"), "{problem}");
    assert!(!problem.output().files().is_empty());
    assert!(error.handle().is_some(), "the job can be asked for its result again");
}
