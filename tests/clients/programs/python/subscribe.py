import fal_client


def on_queue_update(update):
    if isinstance(update, fal_client.InProgress):
        for log in update.logs:
            print("log:", log["message"])


result = fal_client.subscribe(
    "fal-ai/flux/dev",
    arguments={"prompt": "a cat", "image_size": "landscape_4_3", "seed": 7},
    with_logs=True,
    on_enqueue=lambda request_id: print("request:", request_id),
    on_queue_update=on_queue_update,
)
print(result["images"][0]["url"], result["seed"])
