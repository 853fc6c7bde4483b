/**
 * What host sees of core: shapes only. `core/index.ts` implements `Core` over the WASM exports and is the only door into
 * it; core/spec/ says the bytes. Every method is synchronous. Byte arrays that core returns are *views* of its output
 * region, valid until the next call of any method, unless a docstring says "copy".
 */

/** What went wrong inside core. A closed set: host maps it to its faults. */
export type CoreStatus =
  /** A row, blob, token or frame does not open: changed, moved, of another box, or another key. One status for all. */
  | 'refused'
  | 'sealed'
  /** The grant does not cover it, was ended, has expired, or its request leaf is not written yet. */
  | 'denied'
  /** The path breaks the grammar of core/spec/names.md. */
  | 'path'
  /** No mount at that path, or it is being removed. */
  | 'mount'
  /** A fixed capacity is used up (grants, mounts, policy arena, audit group). */
  | 'full'
  /** An argument has no allowed shape: a bug of host or a row of a later version. */
  | 'argument'
  /** The randomness pool is empty and its source gave nothing. */
  | 'entropy';

/** Thrown by the facade for every status but success. Carries nothing of the data. */
export interface CoreFault extends Error {
  readonly status: CoreStatus;
}

// ------------------------------------------------------------------------------------------------ declarations

/** What a request does to a path, before the existence check turns `write` into create or update. */
export type Verb = 'read' | 'list' | 'write' | 'delete' | 'patch' | 'help';
/** What the policy is asked for. */
export type Capability = 'create' | 'read' | 'update' | 'patch' | 'delete' | 'list' | 'sudo';

/**
 * A part of a mount's storage that an operation may touch. `at` is a template over the operation's pattern:
 * literal segments, `{name}` (what the pattern captured under that name, one or more segments) and `{token}` (the
 * presented token's id in hex). `names`: list directory entries, `read`, `write`.
 */
export interface SubtreeDeclaration {
  readonly at: string;
  readonly modes: readonly ('names' | 'read' | 'write')[];
  /** `record`: exactly that record (all its suffixes); `subtree`: everything below `at` too, and `at` itself. */
  readonly extent: 'record' | 'subtree';
}

/** System tables that an operation may open (`read`) or seal (`write`) rows of, whatever their mount. */
export type SystemTable = 'token' | 'accessor' | 'child' | 'expiry' | 'policy' | 'mount' | 'wrap' | 'lease' | 'job';
export interface TableDeclaration {
  readonly table: SystemTable;
  readonly modes: readonly ('read' | 'write')[];
}

/**
 * One operation of an engine type or auth method, as core needs it. Declared once, before the first unseal.
 *
 * `pattern` is relative to the mount: literal segments, `+name` one segment, `*name` the rest (one segment or more; for
 * `list` none too), e.g. `data/*path`, `roles/+name`, `config`, or '' for the mount itself.
 */
export interface OperationDeclaration {
  readonly pattern: string;
  readonly verb: Verb;
  /** Template of the record whose presence makes a `write` an update; without it a write is always `update`. */
  readonly existence?: string;
  /** Suffix of that record, 0 to 8 bytes (none: empty). */
  readonly existenceSuffix?: Uint8Array;
  /** Policy must grant sudo beside the verb. */
  readonly sudo?: boolean;
  /** Only the root policy is enough. */
  readonly root?: boolean;
  /** Needs no token; one that is presented is ignored, and the grant has no token. */
  readonly open?: boolean;
  /** The path may end in `/` though it is no list: a mount's path is its parameter. Decided without the slash. */
  readonly slash?: boolean;
  readonly subtrees?: readonly SubtreeDeclaration[];
  readonly tables?: readonly TableDeclaration[];
}

export interface TypeDeclaration {
  /** `kv`, `cubbyhole`, `system`, `token`, … */
  readonly type: string;
  readonly operations: readonly OperationDeclaration[];
}

/** Work that the box does by itself. The table of jobs is fixed in core (core/spec/gate.md). */
export type Job =
  | 'boot'
  | 'expiry'
  | 'revocation'
  | 'unmount'
  | 'tidy'
  | 'rotation'
  | 'rewrap'
  | 'audit'
  | 'init'
  | 'lease';

// ------------------------------------------------------------------------------------------------ keyring

export interface KeyringInfo {
  /** Rises with every change of the keyring. */
  readonly generation: number;
  readonly rootGeneration: number;
  readonly applianceId: Uint8Array;
  /** The newest epoch; rows are sealed under it. */
  readonly epoch: number;
  readonly epochs: readonly { readonly epoch: number; readonly installedMs: number }[];
  /** Host's own list of slots (public keys, header hashes), sealed with the ring; at most 16 KiB. */
  readonly slots: Uint8Array;
}

export interface KeyringChange {
  readonly slots?: Uint8Array;
  /** A new data key; rows sealed from then on use it. */
  readonly newEpoch?: boolean;
  /** A new root key, epoch, audit keys, batch key and fingerprint key (a slot was removed, replaced or rekeyed). */
  readonly newRoot?: boolean;
  /** 16 bytes, with `newRoot`: the box is another appliance from then on. */
  readonly applianceId?: Uint8Array;
  /** Forgets the key of an epoch that no row uses any more. */
  readonly retireEpoch?: number;
  /** Wall time of the change, milliseconds. */
  readonly nowMs: number;
}

// ------------------------------------------------------------------------------------------------ the gate

export interface Routed {
  /** 16 bytes, copy; and in hex. */
  readonly mountId: Uint8Array;
  readonly mountHex: string;
  /** As it stands in the mount table, with its trailing slash: `secret/`, `auth/token/`. */
  readonly mountPath: string;
  readonly type: string;
  /** What follows the mount's path, without a trailing slash. */
  readonly relative: string;
  readonly trailingSlash: boolean;
}

export interface Begun {
  /** Key of the presented token's row in table `token` (service), or of its parent's row (batch); none: no token needed. */
  readonly tokenKey: Uint8Array | undefined;
  /** Key of the record that the existence check reads, in table `record`. */
  readonly existenceKey: Uint8Array | undefined;
}

export interface DecideInput {
  /** The row under `tokenKey` as read, or undefined if there is none. */
  readonly tokenRow: Uint8Array | undefined;
  readonly existenceRow: Uint8Array | undefined;
  /** Top-level parameters of the request, for parameter constraints; only read when a rule has some (`needs-parameters`). */
  readonly parameters?: readonly Parameter[] | undefined;
  /** Believed lease time, milliseconds. */
  readonly nowMs: number;
  /** Until when the grant lives at the latest. */
  readonly deadlineMs: number;
  /** Peer's address as text (IPv4 or IPv6), or undefined for a unix socket. */
  readonly peer: string | undefined;
  /** Seconds asked for by X-Vault-Wrap-TTL; 0 none. */
  readonly wrapTtl: number;
  /** A token that has an expiry is refused: the host does not know the time well enough for it. */
  readonly refuseEnding?: boolean;
}

/** `text` for strings (their UTF-8), `json` for anything else in canonical JSON. */
export interface Parameter {
  readonly name: string;
  readonly kind: 'text' | 'json';
  readonly value: string;
}

export type Verdict =
  | 'allowed'
  /** No, unknown, expired, spent or foreign token, or a peer outside its CIDRs: one uniform answer. */
  | 'token'
  /** The token is good and its policies do not allow it. */
  | 'policy'
  /** Call `decide` again with `parameters`: the deciding rule has constraints on them. */
  | 'needs-parameters';

export interface Decision {
  readonly verdict: Verdict;
  /**
   * Names the request from now on. For a refusal too: such a grant opens nothing, but writes the request's two leaves.
   * Absent for `needs-parameters`.
   */
  readonly grant: number;
  /** What the policy was asked for: a `write` has become create or update. */
  readonly capability: Capability;
  /** Copy of the opened token row's payload (core/spec/token.md), when `tokenChanged` or the verdict needs it; see `Core.tokenPayload`. */
  readonly isRoot: boolean;
  readonly hasSudo: boolean;
  /** The token's row with one use less, to commit with an expectation on the row that was given. Copy. */
  readonly spentRow?: Uint8Array | undefined;
  /** True if this was the token's last use: it is to be revoked after the answer. */
  readonly lastUse: boolean;
  /** Positions (in the token's own list of policies) of those that hold the deciding rule. */
  readonly granting: readonly number[];
}

export interface SealedRow {
  /** Copies. */
  readonly key: Uint8Array;
  readonly row: Uint8Array;
  /** The request was decided as a create: the row goes only into a batch that expects its key to be absent. */
  readonly mustBeAbsent?: boolean;
}

export interface NameEntry {
  readonly name: string;
  readonly directory: boolean;
}

// ------------------------------------------------------------------------------------------------ audit, freshness

/** What `auditFlush` hands out to be written: copies, `bytes` in what the caller gave. */
export interface AuditGroup {
  /** The sealed frame of the group's lines, followed by its mark (core/spec/audit.md). */
  readonly bytes: Uint8Array;
  /** Leaf hashes in order, 32 bytes each. */
  readonly leafHashes: Uint8Array;
  readonly firstSeq: number;
  /** The tree after this group. */
  readonly size: number;
  readonly root: Uint8Array;
}

export interface FreshnessState {
  /** Counter readings by counter id (16 bytes in hex). */
  readonly counters: Readonly<Record<string, number>>;
  readonly checkpointSize: number;
  readonly checkpointRoot: Uint8Array;
  readonly timeHighWaterMs: number;
}

export interface FreshnessInfo extends FreshnessState {
  readonly keyringGeneration: number;
  readonly rowCount: number;
}

// ------------------------------------------------------------------------------------------------ the door

/** `at` of locate and seal: a storage path of the mount, or SELF + i: the i-th declared subtree's own record. */
export interface Core {
  /** Once, before anything else that needs operations. Operation numbers are positions over all types in order. */
  declare(types: readonly TypeDeclaration[]): void;

  // keyring ------------------------------------------------------------------------------------
  readonly sealed: boolean;
  /** Makes root key and keyring; core is open afterwards. @returns the keyring's sealed row (key: KEYRING_KEY), copy */
  createKeyring(applianceId: Uint8Array, nowMs: number): Uint8Array;
  /**
   * Wraps the root key for a slot: DHKEM(X25519, HKDF-SHA256) (RFC 9180 section 4.1) over the given Diffie-Hellman
   * result, then XChaCha20-Poly1305. @param dh 32 bytes, wiped by the caller; enc, recipient: the two public keys
   */
  wrapRoot(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array, context: Uint8Array): Uint8Array;
  /** @throws CoreFault `refused` */
  unwrapRoot(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array, context: Uint8Array, wrapped: Uint8Array): void;
  /** Needs the root; afterwards core is open. @throws CoreFault `refused` (and the root is wiped) */
  openKeyring(row: Uint8Array): KeyringInfo;
  keyringInfo(): KeyringInfo;
  /** Stages a change and returns the new sealed row; rows are still sealed with the ring in force. */
  stageKeyring(change: KeyringChange): Uint8Array;
  /** The staged ring is durable: use it. `discardStaged` after a failed commit. */
  adoptStaged(): void;
  discardStaged(): void;
  /** Wipes every key, ends every grant. */
  seal(): void;

  // tables that the gate decides with ----------------------------------------------------------------
  /** Opens a row of table `mount` and enters it (replacing the mount of the same id). Job `boot` or a grant on the table. */
  loadMount(key: Uint8Array, row: Uint8Array): void;
  dropMount(mountId: Uint8Array): void;
  /** Rebuilds all policies in the spare arena: begin, add every row, commit swaps. Until then the old ones decide. */
  beginPolicies(): void;
  addPolicy(key: Uint8Array, row: Uint8Array): void;
  commitPolicies(): void;

  // a request ------------------------------------------------------------------------------------
  /** Checks the grammar and finds the mount. Keeps the route for `begin`. @throws CoreFault `path`, `mount` */
  route(path: string): Routed;
  /** Binds the routed path to a declared operation (whose pattern must match it) and a presented token. */
  begin(operation: number, token: string | undefined): Begun;
  decide(input: DecideInput): Decision;
  /** The payload of the token row that this grant was decided with (core/spec/token.md), copy; undefined without token. */
  tokenPayload(grant: number): Uint8Array | undefined;
  /** What policies named in a token would answer for a path (sys/capabilities): sorted names, ['deny'] or ['root']. */
  capabilities(grant: number, tokenRowPayload: Uint8Array, path: string): string[];
  systemGrant(job: Job, mountId: Uint8Array | undefined, nowMs: number, deadlineMs: number): number;
  /** Ends a grant without leaf (system grants; a request whose client is gone after its request leaf uses `leaf`). */
  endGrant(grant: number): void;

  // inside a grant ---------------------------------------------------------------------------------
  /** Row key of a record, 32 bytes and the suffix; remembered for `open`. `path` is a storage path of the grant's mount. */
  locate(grant: number, path: string, suffix: Uint8Array): Uint8Array;
  /** Opens the row last located under this grant. @throws CoreFault `refused` */
  open(grant: number, row: Uint8Array): Uint8Array;
  sealRecord(grant: number, path: string, suffix: Uint8Array, payload: Uint8Array): SealedRow;
  /** The 16 bytes with which every name row of directory `path` ('' the top) begins; remembered for `openName`. */
  locateNames(grant: number, path: string): Uint8Array;
  /** @param key whole key of a name row under the directory last located */
  openName(grant: number, key: Uint8Array, row: Uint8Array): NameEntry;
  /** Name row of `path`'s last segment in its directory, as a secret or a directory; key alone costs no sealing. */
  nameKey(grant: number, path: string, directory: boolean): Uint8Array;
  sealName(grant: number, path: string, directory: boolean): SealedRow;
  /** Rows of system tables; `key` is bound into the row. */
  openTable(grant: number, table: SystemTable, key: Uint8Array, row: Uint8Array): Uint8Array;
  sealTable(grant: number, table: SystemTable, key: Uint8Array, payload: Uint8Array): Uint8Array;
  /** Keyed hash of a name for keys of system tables (accessors, policy names), 16 bytes, copy. Bound to the table. */
  blindKey(table: SystemTable, name: string): Uint8Array;

  // tokens ------------------------------------------------------------------------------------------
  /** Draws a token of 24 base62 characters: `hvs.` or `hvr.`. @returns its text and the key of its row (16 bytes, copy) */
  newToken(grant: number, kind: 'service' | 'recovery'): { readonly text: string; readonly id: Uint8Array };
  /** 24 base62 characters without bias: accessors, lease ids. */
  newAccessor(): string;
  /** Row key of a presented service token (keyed hash of its exact bytes), 16 bytes, copy. */
  tokenId(text: string): Uint8Array;
  /** `hvb.` token over a token payload (core/spec/token.md). */
  sealBatchToken(grant: number, payload: Uint8Array): string;
  /** @throws CoreFault `refused` */
  openBatchToken(grant: number, text: string): Uint8Array;

  // audit log -----------------------------------------------------------------------------------------
  /** Sets the tree at unseal: `frontier` holds the popcount(size) perfect subtree hashes, largest first. */
  auditStart(size: number, frontier: Uint8Array): { readonly root: Uint8Array };
  /**
   * Composes one leaf into the group: core's own object, then `rest`, the remaining members of the JSON line
   * (`"type":"request",…}`), in which \u0001raw\u0002 stands for the HMAC of the raw bytes between (written as
   * hmac-sha256:hex). `phase` request opens the grant; response ends it; note is a leaf of a system grant.
   *
   * @param timeText RFC 3339 with nanoseconds @returns its sequence number
   * @throws CoreFault `full`: flush first; `argument`: the line would exceed LEAF_SIZE_MAX, nothing was written
   */
  leaf(grant: number, phase: 'request' | 'response' | 'note', timeText: string, rest: string): number;
  /** HMAC with the key of a log or sink (HKDF(audit HMAC key, accessor)), as `hmac-sha256:` + hex. */
  auditHmac(accessor: string, value: string | Uint8Array): string;
  /** Bytes of lines that wait for a flush. */
  readonly auditPending: number;
  /** @param into  takes the group's bytes where they fit, and must stay untouched as long as the group is needed */
  auditFlush(into?: Uint8Array): AuditGroup | undefined;
  /** Checks a mark. @throws CoreFault `refused` */
  auditMark(bytes: Uint8Array): { readonly size: number; readonly root: Uint8Array };
  /** Opens a frame: its lines, each ending in LF. Job `audit`, or a grant whose operation declares it. Copy. */
  auditOpenFrame(grant: number, bytes: Uint8Array): { readonly firstSeq: number; readonly lines: Uint8Array };

  // freshness ------------------------------------------------------------------------------------------
  /** The freshness row as it stands at unseal; from then on core follows. @throws CoreFault `refused` */
  openFreshness(row: Uint8Array): FreshnessInfo;
  /** Folds one change into the staged fingerprint. */
  foldChange(table: number, key: Uint8Array, before: Uint8Array | undefined, after: Uint8Array | undefined): void;
  /**
   * Seals the staged freshness row. Adopted by `adoptFreshness`, dropped by `discardFreshness`. Copy.
   *
   * @param withStaged  for the transaction that carries the staged keyring
   */
  sealFreshness(state: FreshnessState, withStaged?: boolean): Uint8Array;
  adoptFreshness(): void;
  discardFreshness(): void;
  /** Counts every row anew under the fingerprint key of a staged root: start at a durable state, every row of it. */
  renewStart(): void;
  renewRow(table: number, key: Uint8Array, value: Uint8Array): void;
  /**
   * Seals a row of any covered table with the newest epoch: job `rewrap`. Copy; undefined if it has that epoch already.
   *
   * @throws CoreFault `refused` if no mount's keys, and no table's, open it
   */
  reseal(grant: number, table: number, key: Uint8Array, row: Uint8Array): Uint8Array | undefined;
  /** Recomputation over a snapshot: start, every row, end says whether it equals the fingerprint and count in `row`. */
  verifyStart(row: Uint8Array): void;
  verifyRow(table: number, key: Uint8Array, value: Uint8Array): void;
  verifyEnd(): boolean;
  /** Takes the rows that were counted last as they are. @throws CoreFault `argument` if none were counted to their end */
  acceptRows(): void;

  // plain tools ------------------------------------------------------------------------------------------
  sha256(data: Uint8Array): Uint8Array;
  /** Shares in Vault's form: `length` y bytes, then the x byte. Copies, owned by the caller. */
  shamirSplit(secret: Uint8Array, shares: number, threshold: number): Uint8Array[];
  shamirCombine(shares: readonly Uint8Array[]): Uint8Array;
}

/** Payload of one sealed row, bytes. */
export const PAYLOAD_SIZE_MAX = 1024 * 1024;
/** One audit line without its LF, bytes. */
export const LEAF_SIZE_MAX = 65_535;
export const SEGMENT_COUNT_MAX = 32;
export const SEGMENT_SIZE_MAX = 255;
