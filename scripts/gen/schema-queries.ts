import type pg from 'pg'

/** A table, partitioned table, view or materialized view. */
export interface Relation {
  oid: number
  name: string
  /** `r` table, `p` partitioned table, `v` view, `m` materialized view. */
  kind: string
  view: string | null
  partition_key: string | null
  /** Storage options, e.g. `fillfactor=70`. */
  options: string | null
  privileges: string | null
  comment: string | null
}

export interface Column {
  name: string
  type: string
  is_required: boolean
  identity: string
  generated: string
  default_value: string | null
  collation: string | null
}

/** Every schema of ours: not PostgreSQL's own, and not `jobs`, which the job library makes and changes. */
export async function schemas(client: pg.Client): Promise<string[]> {
  return names(
    client,
    `
    select nspname as name from pg_catalog.pg_namespace
    where nspname !~ '^pg_' and nspname not in ('information_schema', 'jobs', 'public')
    order by nspname`,
    [],
  )
}

/** Enumerations and domains. */
export async function types(client: pg.Client, schema: string): Promise<string[]> {
  return names(
    client,
    `
    select case t.typtype
      when 'e' then 'create type ' || t.oid::regtype || ' as enum ('
        || (select string_agg(quote_literal(enumlabel), ', ' order by enumsortorder) from pg_catalog.pg_enum
            where enumtypid = t.oid) || ');'
      else 'create domain ' || t.oid::regtype || ' as ' || pg_catalog.format_type(t.typbasetype, t.typtypmod)
        || coalesce((select string_agg(
            ' constraint ' || conname || ' ' || pg_catalog.pg_get_constraintdef(oid), '' order by conname)
            from pg_catalog.pg_constraint where contypid = t.oid), '') || ';'
      end as name
    from pg_catalog.pg_type t
    where t.typnamespace = $1::regnamespace and t.typtype in ('e', 'd')
    order by t.typname`,
    [schema],
  )
}

/** Sequences that no column owns by being an identity. */
export async function sequences(client: pg.Client, schema: string): Promise<string[]> {
  return names(
    client,
    `
    select c.oid::regclass::text as name from pg_catalog.pg_class c
    where c.relnamespace = $1::regnamespace and c.relkind = 'S'
      and not exists (select 1 from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'i')
    order by c.relname`,
    [schema],
  )
}

/** Tables and views; of a partitioned table the parent alone, as its partitions come with time. */
export async function relations(client: pg.Client, schema: string): Promise<Relation[]> {
  const { rows } = await client.query<Relation>(
    `
    select c.oid, c.oid::regclass::text as name, c.relkind as kind,
      case when c.relkind in ('v', 'm') then pg_catalog.pg_get_viewdef(c.oid, true) end as view,
      case when c.relkind = 'p' then pg_catalog.pg_get_partkeydef(c.oid) end as partition_key,
      array_to_string(c.reloptions, ', ') as options,
      array_to_string(c.relacl, ' ') as privileges,
      pg_catalog.obj_description(c.oid, 'pg_class') as comment
    from pg_catalog.pg_class c
    where c.relnamespace = $1::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
    order by c.relkind in ('v', 'm'), c.relname`,
    [schema],
  )
  return rows
}

export async function columns(client: pg.Client, table: number): Promise<Column[]> {
  const { rows } = await client.query<Column>(
    `
    select quote_ident(a.attname) as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
      a.attnotnull as is_required, a.attidentity as identity, a.attgenerated as generated,
      pg_catalog.pg_get_expr(d.adbin, d.adrelid) as default_value,
      case when a.attcollation not in (0, t.typcollation) then quote_ident(l.collname) end as collation
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    left join pg_catalog.pg_collation l on l.oid = a.attcollation
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
    order by a.attnum`,
    [table],
  )
  return rows
}

/** Keys first, then checks and references. What says only "not null" stands with its column. */
export async function constraints(
  client: pg.Client,
  table: number,
): Promise<{ name: string; definition: string }[]> {
  const { rows } = await client.query<{ name: string; definition: string }>(
    `
    select quote_ident(conname) as name, pg_catalog.pg_get_constraintdef(oid) as definition
    from pg_catalog.pg_constraint
    where conrelid = $1 and contype <> 'n' and conparentid = 0
    order by array_position(array['p', 'u', 'x', 'c', 'f', 't']::"char"[], contype), conname`,
    [table],
  )
  return rows
}

/** Indexes that are not the inside of a constraint. */
export async function indexes(client: pg.Client, table: number): Promise<string[]> {
  return names(
    client,
    `
    select pg_catalog.pg_get_indexdef(i.indexrelid) as name
    from pg_catalog.pg_index i
    where i.indrelid = $1 and not exists (
      select 1 from pg_catalog.pg_constraint c where c.conindid = i.indexrelid
      and c.contype in ('p', 'u', 'x'))
    order by i.indexrelid::regclass::text`,
    [table],
  )
}

export async function triggers(client: pg.Client, table: number): Promise<string[]> {
  return names(
    client,
    `
    select pg_catalog.pg_get_triggerdef(oid) as name from pg_catalog.pg_trigger
    where tgrelid = $1 and not tgisinternal order by tgname`,
    [table],
  )
}

export async function policies(client: pg.Client, table: number): Promise<string[]> {
  return names(
    client,
    `
    select 'create policy ' || quote_ident(polname) || ' on ' || polrelid::regclass
      || coalesce(' using (' || pg_catalog.pg_get_expr(polqual, polrelid) || ')', '')
      || coalesce(' with check (' || pg_catalog.pg_get_expr(polwithcheck, polrelid) || ')', '') as name
    from pg_catalog.pg_policy where polrelid = $1 order by polname`,
    [table],
  )
}

/** Functions and procedures; those of extensions are the extensions' own. */
export async function functions(client: pg.Client, schema: string): Promise<string[]> {
  return names(
    client,
    `
    select pg_catalog.pg_get_functiondef(p.oid) as name
    from pg_catalog.pg_proc p
    where p.pronamespace = $1::regnamespace and p.prokind in ('f', 'p')
      and not exists (select 1 from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e')
    order by p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)`,
    [schema],
  )
}

async function names(client: pg.Client, text: string, values: readonly unknown[]): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(text, [...values])
  return rows.map((row) => row.name)
}
