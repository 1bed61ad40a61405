import fal_client

try:
    fal_client.run("fal-ai/flux/dev", arguments={"prompt": 7})
except fal_client.client.FalClientHTTPError as error:
    print(error.status_code, error.response.json()["detail"][0]["loc"])
