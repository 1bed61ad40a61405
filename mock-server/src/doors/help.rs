//! What a lost caller is told.

/// The page at `/` of a mock that listens there.
pub(crate) fn help(listening: &str) -> String {
    HELP.replace("{at}", listening)
}

const HELP: &str = "\
fal-mock: a fal.ai on your desk. Nothing here costs money, and nothing leaves this machine.

Point your client here:

  JavaScript   fal.config({ proxyUrl: { url: 'http://{at}/api/fal/proxy', when: 'always' }, credentials: 'any:key' })
  Rust, CLI    FAL_BASE_URL=http://{at}, or Hosts::under(\"http://{at}\")
  curl         curl -H 'Authorization: Key any:key' -d '{\"prompt\":\"a cat\"}' http://{at}/fal.run/fal-ai/flux/dev
  others       HTTPS_PROXY=http://{at}, and trust http://{at}/__mock/v1/ca.pem
  others       put the host behind the address: http://{at}/queue.fal.run/...

Hosts: fal.run, queue.fal.run, rest.fal.ai, v3.fal.media, storage.googleapis.com, ws.fal.run, api.fal.ai, fal.ai.
Not emulated (501): WebRTC, most of the platform API.
";

/// What is told to somebody who wanted to leave the machine.
pub(crate) fn refusal(target: &str) -> String {
    format!(
        "fal-mock stands for fal's hosts only and did not connect to {target}; nothing was sent there. \
         Put the host into NO_PROXY to go around the mock, or start it with --passthrough to go through it"
    )
}

/// The hint in the answer to an unknown path.
pub(crate) fn hint(path: &str) -> String {
    format!(
        "{path} is nothing here: start the path with a host, such as /queue.fal.run/fal-ai/flux/dev, \
         or name the address in the header x-fal-target-url; see / for help"
    )
}
