//! Whether memory returns: far more Services than there are come and go.

use anyhow::{Result, bail};

use super::{config::Config, events::Events, fleet::Wanted, population::Who, process::Meter, report::Row, wire::Type};

/// So many times the Services of the beginning come.
const TIMES: u32 = 4;

impl Events<'_> {
    /// Many Services come, and go again. The time is that until the last client is rid of them; memory is what the server
    /// has kept of what they took.
    pub(super) async fn storm(&mut self) -> Result<Row> {
        let services = self.next_services(self.args.services * TIMES);
        self.settled_memory().await?;
        let earlier = self.resident();
        let clusters = |config: &Config, gone| {
            let of = |s| Wanted { by: Who::Everyone, kind: Type::Cluster, name: config.cluster(s), gone };
            services.clone().map(of).collect::<Vec<_>>()
        };
        let coming = clusters(&self.config, false);
        self.unmeasured(coming, async |me: &mut Self| me.config.add_services(services.clone()).await).await?;
        let most = self.resident();
        self.crew.aim(clusters(&self.config, true)).await?;
        let before = self.before().await?;
        self.config.remove_services(services).await?;
        let arrivals = self.crew.wait(before.start, self.args.patience).await?;
        self.settled_memory().await?;
        let mut row = self.after(Row::new("Services come and go"), &before, &arrivals).await?;
        if let (Some(earlier), Some(most), Some(now)) = (earlier, most, self.resident()) {
            if most <= earlier {
                bail!("a storm of {} Services took no memory", self.args.services * TIMES);
            }
            row.kept(now.saturating_sub(earlier), most - earlier);
        }
        Ok(row)
    }

    fn resident(&self) -> Option<u64> {
        self.meter.as_ref().map(|meter: &Meter| meter.memory().resident)
    }
}
