import sys

import fal_client


def poster(title):
    prompt = f"a poster for {title}"
    result = fal_client.subscribe("fal-ai/flux/dev", arguments={"prompt": prompt})
    return result["images"][0]["url"]


if __name__ == "__main__":
    print(poster(sys.argv[1]))
