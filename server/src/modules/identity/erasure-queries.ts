import type { Tx } from '#kernel/db'

/** Empties a user and takes away all he could sign in with; his id stays, for what names it. */
export async function eraseUserRows(tx: Tx, user_id: string, now: Date): Promise<void> {
  await tx.deleteFrom('identity.identities').where('user_id', '=', user_id).execute()
  await tx.deleteFrom('identity.devices').where('user_id', '=', user_id).execute()
  await tx.deleteFrom('identity.totp_secrets').where('user_id', '=', user_id).execute()
  await tx.deleteFrom('identity.one_time_proofs').where('user_id', '=', user_id).execute()
  await tx
    .updateTable('identity.sessions')
    .set({ network: '', device_id: null, device_name: null })
    .where('user_id', '=', user_id)
    .execute()
  await tx
    .updateTable('identity.users')
    .set({
      email: null,
      email_verified_at: null,
      password_hash: null,
      name: null,
      locale: null,
      erased_at: now,
      updated_at: now,
    })
    .where('id', '=', user_id)
    .where('erased_at', 'is', null)
    .execute()
}
