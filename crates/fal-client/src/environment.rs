//! Who calls, as the environment says.

use fal_protocol::Key;
use fal_protocol::error::InputError;

/// Where credentials were found.
#[derive(Debug)]
pub(crate) enum Found {
    Key(Key),
    /// A login that was usable a moment ago.
    #[cfg(feature = "login")]
    Login(crate::login::LoginFile),
    /// None: what to do about it.
    Nothing(Box<str>),
}

/// Looks in the documented order. `variable` gives no variable that is set to nothing.
///
/// 1. `FAL_KEY`;
/// 2. `FAL_KEY_ID` and `FAL_KEY_SECRET`, both;
/// 3. the login of fal's own program, with the feature `login`.
///
/// `FAL_FORCE_AUTH_BY_USER=1` passes over the first two. Source: `auth.py` of `fal-client` 1.0.3 (official
/// client source); the JS client lets a `FAL_KEY` that is set to nothing win, which we do not.
pub(crate) fn find(
    variable: impl Fn(&str) -> Option<String>,
    #[cfg(feature = "login")] login: impl FnOnce() -> Login,
) -> Result<Found, InputError> {
    let is_forced = variable("FAL_FORCE_AUTH_BY_USER").is_some_and(|value| value.trim() == "1");
    if !is_forced {
        if let Some(key) = variable("FAL_KEY") {
            return Ok(Found::Key(Key::parse(&key)?));
        }
        if let (Some(id), Some(secret)) = (variable("FAL_KEY_ID"), variable("FAL_KEY_SECRET")) {
            return Ok(Found::Key(Key::from_parts(&id, &secret)?));
        }
    }
    #[cfg(feature = "login")]
    match login() {
        Login::Usable(file) => return Ok(Found::Login(file)),
        Login::Unusable(problem) => return Ok(Found::Nothing(problem)),
        Login::Absent if is_forced => return Ok(Found::Nothing(FORCED_ABSENT.into())),
        Login::Absent => {}
    }
    #[cfg(not(feature = "login"))]
    if is_forced {
        return Ok(Found::Nothing(FORCED_WITHOUT_FEATURE.into()));
    }
    Ok(Found::Nothing(NO_KEY.into()))
}

/// What the login file of fal's own program is worth.
#[cfg(feature = "login")]
#[derive(Debug)]
pub(crate) enum Login {
    Usable(crate::login::LoginFile),
    Unusable(Box<str>),
    Absent,
}

/// Told when there are no credentials at all.
pub(crate) const NO_KEY: &str = "there is no API key: set FAL_KEY (get one at \
     https://fal.ai/dashboard/keys), or FAL_KEY_ID and FAL_KEY_SECRET; a mock server takes any `id:secret`";
#[cfg(feature = "login")]
const FORCED_ABSENT: &str = "FAL_FORCE_AUTH_BY_USER=1 asks for a login, and there is none: run `fal auth login`, \
     or unset it and set FAL_KEY, or FAL_KEY_ID and FAL_KEY_SECRET";
#[cfg(not(feature = "login"))]
const FORCED_WITHOUT_FEATURE: &str = "FAL_FORCE_AUTH_BY_USER=1 asks for a login, which this program was built \
     without (feature `login` of fal-client): unset it and set FAL_KEY, or FAL_KEY_ID and FAL_KEY_SECRET";

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "login")]
    #[track_caller]
    fn check(set: &[(&str, &str)], login: Login) -> String {
        let variable = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned()).filter(|value| !value.trim().is_empty())
        };
        match find(variable, || login) {
            Ok(Found::Key(key)) => {
                let header = fal_protocol::Credentials::from(key).header().unwrap();
                header.to_str().unwrap().to_owned()
            }
            Ok(Found::Login(file)) => format!("login {}", file.path().display()),
            Ok(Found::Nothing(problem)) => problem.into(),
            Err(error) => error.to_string(),
        }
    }

    #[cfg(feature = "login")]
    #[test]
    fn sources_have_an_order() {
        let login = || Login::Usable(crate::login::LoginFile::at("t"));
        let all = [("FAL_KEY", "a:b"), ("FAL_KEY_ID", "c"), ("FAL_KEY_SECRET", "d")];
        assert_eq!(check(&all, login()), "Key a:b");
        assert_eq!(check(&all[1..], login()), "Key c:d");
        assert_eq!(check(&all[1..2], login()), "login t", "half a pair is none");
        assert_eq!(check(&all[2..], Login::Absent), NO_KEY);
        assert_eq!(check(&[("FAL_KEY", " "), all[1], all[2]], login()), "Key c:d");
        assert_eq!(check(&[("FAL_KEY", ""), ("FAL_KEY_ID", ""), all[2]], login()), "login t");
        let forced = [("FAL_FORCE_AUTH_BY_USER", "1"), all[0], all[1], all[2]];
        assert_eq!(check(&forced, login()), "login t");
        assert_eq!(check(&forced, Login::Absent), FORCED_ABSENT);
        assert_eq!(check(&[("FAL_FORCE_AUTH_BY_USER", "0"), all[0]], login()), "Key a:b");
        assert_eq!(check(&[], Login::Unusable("expired".into())), "expired");
    }

    #[cfg(feature = "login")]
    #[test]
    fn a_bad_key_is_told_and_not_passed_over() {
        let login = Login::Usable(crate::login::LoginFile::at("t"));
        let told = check(&[("FAL_KEY", "nocolon")], login);
        assert!(told.contains("<key id>:<secret>") && !told.contains("nocolon"), "{told}");
    }

    #[test]
    fn every_problem_names_the_variables() {
        #[cfg(feature = "login")]
        let forced = FORCED_ABSENT;
        #[cfg(not(feature = "login"))]
        let forced = FORCED_WITHOUT_FEATURE;
        for problem in [NO_KEY, forced] {
            for name in ["FAL_KEY,", "FAL_KEY_ID", "FAL_KEY_SECRET"] {
                assert!(
                    problem.replace("FAL_KEY (", "FAL_KEY, (").contains(name),
                    "{name}: {problem}"
                );
            }
        }
    }
}
