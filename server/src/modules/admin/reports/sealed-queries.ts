import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'

/** How much is sealed under one key, and where. */
export interface SealedUnder {
  key_id: string
  place: string
  count: bigint
}

/**
 * What is sealed, by the key that is needed to open it. What lives for minutes only (mails that wait,
 * sign-ins at a vendor) counts too: a key is not taken away under it.
 */
export async function sealedByKey(sql: Sql): Promise<SealedUnder[]> {
  const { rows } = await raw<SealedUnder>`
    select split_part(sealed, '.', 2) as key_id, place, count(*) as count
      from (
        select 'signing keys' as place, private_sealed as sealed from identity.signing_keys
        union all
        select 'second factors', secret_sealed from identity.totp_secrets
        union all
        select 'who got what', key_sealed from identity.benefit_key
        union all
        select 'sign-ins at a vendor', facts ->> 'verifier_sealed' from identity.one_time_proofs
         where facts ? 'verifier_sealed' and used_at is null
        union all
        select 'webhook secrets', secret from notifications.webhook_endpoints where deleted_at is null
        union all
        select 'webhook secrets', previous_secret from notifications.webhook_endpoints
         where deleted_at is null and previous_secret is not null
        union all
        select 'mails that wait', data ->> 'sealed' from jobs.job
         where name = 'identity.mail' and state < 'completed'
      ) everything
     group by key_id, place order by key_id, place`.execute(sql)
  return rows
}
