//! The client of a run, and the simulator that answers it if the plan selects one.

use super::runtime::BackgroundRuntime;
use super::{limits, network, simulated};
use crate::config::Resolved;
use crate::error::Error;
use crate::executor::Bedrock;
use crate::executor::connect::NetworkSettings;
use crate::matrix::{Cell, Shard};
use crate::plan::Endpoint;
use crate::units::Secrets;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Client of a run, and the simulator that answers it if the plan selects one.
pub(super) struct Connected {
    pub(super) runtime: BackgroundRuntime,
    pub(super) simulator: Option<simulated::LocalSimulator>,
    pub(super) bedrock: Arc<Bedrock>,
}

/// Raises the limit of open files for the cells' connections, starts the simulator if the plan selects it, and connects
/// the client.
pub(super) fn connect(
    resolved: &Resolved,
    cells: &[Cell],
    environment: &BTreeMap<String, String>,
    secrets: &Secrets,
    shard: Shard,
) -> Result<Connected, Error> {
    limits::raise_open_files(cells, shard, resolved.plan.target.endpoint == Endpoint::Simulated)?;
    let runtime = BackgroundRuntime::new().map_err(Error::Internal)?;
    let simulator = match resolved.plan.target.endpoint {
        Endpoint::Simulated => Some(simulated::start(&resolved.plan.simulator)?),
        _ => None,
    };
    let network = match simulator {
        Some(_) => NetworkSettings::default(),
        None => network::settings(environment, resolved.plan.target.profile.as_deref())?,
    };
    let url = simulator.as_ref().map(simulated::LocalSimulator::url);
    let target = network::target(resolved, cells, url, network, environment, secrets);
    let bedrock = Arc::new(runtime.block_on(Bedrock::connect(&target))?);
    Ok(Connected { runtime, simulator, bedrock })
}
