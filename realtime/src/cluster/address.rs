//! Where Redis is: one server, or sentinels that know which one is the master.

use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisResult, TlsMode};

/// `redis+sentinel://user:password@sentinel:26379,other:26379/master?tls=true`
const SENTINEL: &str = "redis+sentinel://";
const SENTINEL_PORT: u16 = 26_379;

/// An address, read.
#[derive(Debug)]
pub(super) enum Address {
    One(Box<redis::ConnectionInfo>),
    Sentinels(Sentinels),
}

#[derive(Debug)]
pub(super) struct Sentinels {
    hosts: Vec<(String, u16)>,
    master: String,
    user: Option<String>,
    password: Option<String>,
    tls: bool,
}

impl Address {
    /// Errors: what is wrong with the text.
    pub(super) fn parse(url: &str) -> Result<Address, String> {
        let Some(rest) = url.strip_prefix(SENTINEL) else {
            let info = url.into_connection_info().map_err(|error| error.to_string())?;
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            return Ok(Address::One(Box::new(info.set_redis_settings(settings))));
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let tls = match query {
            "" | "tls=false" => false,
            "tls=true" => true,
            other => return Err(format!("it may end with ?tls=true and not with ?{other}")),
        };
        let (account, rest) =
            rest.rsplit_once('@').map_or((None, rest), |(account, rest)| (Some(account), rest));
        let (hosts, master) = rest
            .split_once('/')
            .filter(|(_, master)| !master.is_empty())
            .ok_or("it needs the master's name: redis+sentinel://host:26379,host:26379/mymaster")?;
        let host = |text: &str| match text.rsplit_once(':') {
            Some((host, port)) => port.parse().ok().map(|port| (host.to_owned(), port)),
            None => Some((text.to_owned(), SENTINEL_PORT)),
        };
        let hosts: Option<Vec<_>> = hosts.split(',').map(host).collect();
        let hosts = hosts.filter(|hosts| hosts.iter().all(|(host, _)| !host.is_empty()));
        let (user, password) = match account.map(|account| account.split_once(':').unwrap_or((account, ""))) {
            None => (None, None),
            Some((user, password)) => {
                let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                (some(user), some(password))
            }
        };
        let master = master.to_owned();
        Ok(Address::Sentinels(Sentinels {
            hosts: hosts.ok_or("its hosts must look like host:26379,host:26379")?,
            master,
            user,
            password,
            tls,
        }))
    }

    /// A client of the server that is the master now.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        match self {
            Address::One(info) => Client::open((**info).clone()),
            Address::Sentinels(all) => all.master().await,
        }
    }
}

impl Sentinels {
    async fn master(&self) -> RedisResult<Client> {
        let hosts = self.hosts.iter().map(|(host, port)| ConnectionAddr::Tcp(host.clone(), *port));
        let mut builder = SentinelClientBuilder::new(hosts, self.master.clone(), SentinelServerType::Master)?
            .set_client_to_redis_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &self.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &self.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if self.tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        builder.build()?.async_get_client().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_read_with_or_without_ports_and_passwords() {
        let Ok(Address::Sentinels(all)) = Address::parse("redis+sentinel://ana:p@ss@a:1,b/main?tls=true")
        else {
            panic!()
        };
        assert_eq!(all.hosts, [("a".to_owned(), 1), ("b".to_owned(), SENTINEL_PORT)]);
        assert_eq!(
            (&*all.master, all.user.as_deref(), all.password.as_deref(), all.tls),
            ("main", Some("ana"), Some("p@ss"), true)
        );
        let Ok(Address::Sentinels(all)) = Address::parse("redis+sentinel://:secret@a/main") else { panic!() };
        assert_eq!((all.user, all.password.as_deref(), all.tls), (None, Some("secret"), false));
        for bad in [
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel://a:x/m",
            "redis+sentinel:///m",
            "redis+sentinel://a/m?x=1",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        assert!(matches!(Address::parse("rediss://u:p@host:6380/2"), Ok(Address::One(_))));
        assert!(Address::parse("http://host").is_err());
    }
}
