/** Test vectors of the documents that define the primitives, each under its document and section. Hex unless said. */

const SUNSCREEN =
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";

/** RFC 8439 section 2.4.2. */
export const CHACHA20 = {
  key: '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
  counter: 1,
  nonce: '000000000000004a00000000',
  plaintextText: SUNSCREEN,
  ciphertext:
    '6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab77937365af90bbf74a35be6b40b8eedf2785e42874d',
};

/** RFC 8439 section 2.3.2: key as above, block 1 of nonce 000000090000004a00000000. */
export const CHACHA20_BLOCK = {
  key: CHACHA20.key,
  counter: 1,
  nonce: '000000090000004a00000000',
  block:
    '10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e',
};

/** RFC 8439 section 2.5.2. */
export const POLY1305 = {
  key: '85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b',
  messageText: 'Cryptographic Forum Research Group',
  tag: 'a8061dc1305136c6c22b8baf0c0127a9',
};

/** RFC 8439 appendix A.3, vectors 7 to 11: what breaks careless carries. */
export const POLY1305_EDGES = [
  {
    section: 'A.3 #7',
    key: '0200000000000000000000000000000000000000000000000000000000000000',
    message: 'ffffffffffffffffffffffffffffffff',
    tag: '03000000000000000000000000000000',
  },
  {
    section: 'A.3 #8',
    key: '02000000000000000000000000000000ffffffffffffffffffffffffffffffff',
    message: '02000000000000000000000000000000',
    tag: '03000000000000000000000000000000',
  },
  {
    section: 'A.3 #9',
    key: '0100000000000000000000000000000000000000000000000000000000000000',
    message: 'fffffffffffffffffffffffffffffffff0ffffffffffffffffffffffffffffff11000000000000000000000000000000',
    tag: '05000000000000000000000000000000',
  },
  {
    section: 'A.3 #10',
    key: '0100000000000000000000000000000000000000000000000000000000000000',
    message: 'fffffffffffffffffffffffffffffffffbfefefefefefefefefefefefefefefe01010101010101010101010101010101',
    tag: '00000000000000000000000000000000',
  },
  {
    section: 'A.3 #11',
    key: '0200000000000000000000000000000000000000000000000000000000000000',
    message: 'fdffffffffffffffffffffffffffffff',
    tag: 'faffffffffffffffffffffffffffffff',
  },
] as const;

/** RFC 8439 section 2.8.2. */
export const CHACHA20_POLY1305 = {
  key: '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f',
  nonce: '070000004041424344454647',
  ad: '50515253c0c1c2c3c4c5c6c7',
  plaintextText: SUNSCREEN,
  sealed:
    'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691',
};

/** draft-irtf-cfrg-xchacha-03 section 2.2.1. */
export const HCHACHA20 = {
  key: CHACHA20.key,
  nonce: '000000090000004a0000000031415927',
  subkey: '82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc',
};

/** draft-irtf-cfrg-xchacha-03 appendix A.3.1. */
export const XCHACHA20_POLY1305 = {
  key: CHACHA20_POLY1305.key,
  nonce: '404142434445464748494a4b4c4d4e4f5051525354555657',
  ad: CHACHA20_POLY1305.ad,
  plaintextText: SUNSCREEN,
  sealed:
    'bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49',
};

/** NIST, examples of FIPS 180-4 (SHA256.pdf and the long message of SHA_All.pdf). */
export const SHA256 = [
  { text: '', times: 1, digest: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' },
  { text: 'abc', times: 1, digest: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad' },
  {
    text: 'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
    times: 1,
    digest: '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  },
  {
    text: 'abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu',
    times: 1,
    digest: 'cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1',
  },
  { text: 'a', times: 1_000_000, digest: 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0' },
] as const;

const repeat = (byte: string, times: number): string => byte.repeat(times);
const hexOf = (text: string): string => Buffer.from(text).toString('hex');

/** RFC 4231 section 4; test case 5 is truncated to 16 bytes there. */
export const HMAC_SHA256 = [
  {
    section: '4.2',
    key: repeat('0b', 20),
    data: hexOf('Hi There'),
    mac: 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
  },
  {
    section: '4.3',
    key: hexOf('Jefe'),
    data: hexOf('what do ya want for nothing?'),
    mac: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  },
  {
    section: '4.4',
    key: repeat('aa', 20),
    data: repeat('dd', 50),
    mac: '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe',
  },
  {
    section: '4.5',
    key: '0102030405060708090a0b0c0d0e0f10111213141516171819',
    data: repeat('cd', 50),
    mac: '82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b',
  },
  {
    section: '4.6',
    key: repeat('0c', 20),
    data: hexOf('Test With Truncation'),
    mac: 'a3b6167473100ee06e0c796c2955552b',
  },
  {
    section: '4.7',
    key: repeat('aa', 131),
    data: hexOf('Test Using Larger Than Block-Size Key - Hash Key First'),
    mac: '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
  },
  {
    section: '4.8',
    key: repeat('aa', 131),
    data: hexOf(
      'This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.',
    ),
    mac: '9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2',
  },
] as const;

const range = (from: number, to: number): string =>
  Buffer.from(Array.from({ length: to - from + 1 }, (_, i) => from + i)).toString('hex');

/** RFC 5869 appendix A, the cases with SHA-256. */
export const HKDF_SHA256 = [
  {
    section: 'A.1',
    ikm: repeat('0b', 22),
    salt: range(0x00, 0x0c),
    info: range(0xf0, 0xf9),
    prk: '077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5',
    okm: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
  },
  {
    section: 'A.2',
    ikm: range(0x00, 0x4f),
    salt: range(0x60, 0xaf),
    info: range(0xb0, 0xff),
    prk: '06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244',
    okm: 'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87',
  },
  {
    section: 'A.3',
    ikm: repeat('0b', 22),
    salt: '',
    info: '',
    prk: '19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04',
    okm: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
  },
] as const;
