import fal_client

with fal_client.realtime("fal-ai/fast-lcm-diffusion") as connection:
    connection.send({"prompt": "a cat", "seed": 7})
    result = connection.recv()
    print(sorted(result))
