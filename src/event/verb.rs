//! The closed lists: commands of the protocols, types of IMAP untagged responses.

use super::words;

words! {
    /// A command of any of the protocols; what is on no list is `OTHER`.
    #[derive(Default)]
    Verb {
        /// On no list.
        #[default]
        Other = "OTHER",
        // SMTP, LMTP
        /// RFC 5321.
        Helo = "HELO",
        /// RFC 5321.
        Ehlo = "EHLO",
        /// RFC 2033.
        Lhlo = "LHLO",
        /// RFC 5321.
        Mail = "MAIL",
        /// RFC 5321.
        Rcpt = "RCPT",
        /// RFC 5321.
        Data = "DATA",
        /// RFC 3030.
        Bdat = "BDAT",
        /// RFC 4468.
        Burl = "BURL",
        /// RFC 5321, POP3.
        Rset = "RSET",
        /// All three protocols.
        Noop = "NOOP",
        /// SMTP and POP3.
        Quit = "QUIT",
        /// RFC 5321.
        Vrfy = "VRFY",
        /// RFC 5321.
        Expn = "EXPN",
        /// RFC 5321.
        Help = "HELP",
        /// RFC 3207, RFC 9051.
        StartTls = "STARTTLS",
        /// RFC 4954, RFC 5034.
        Auth = "AUTH",
        /// RFC 1985.
        Etrn = "ETRN",
        /// RFC 821.
        Turn = "TURN",
        /// RFC 2645.
        Atrn = "ATRN",
        /// RFC 821.
        Send = "SEND",
        /// RFC 821.
        Soml = "SOML",
        /// RFC 821.
        Saml = "SAML",
        /// Postfix.
        Xclient = "XCLIENT",
        /// Postfix.
        Xforward = "XFORWARD",
        /// Exchange.
        Xexch50 = "XEXCH50",
        /// Exchange.
        XExps = "X-EXPS",
        /// Exchange.
        XAnonymousTls = "X-ANONYMOUSTLS",
        /// Exchange.
        XLink2State = "X-LINK2STATE",
        /// Sendmail.
        Onex = "ONEX",
        /// Sendmail.
        Verb = "VERB",
        /// Sendmail.
        Tick = "TICK",
        /// Sendmail, long ago.
        Debug = "DEBUG",
        /// Sendmail, long ago.
        Wiz = "WIZ",
        /// Sendmail, long ago.
        Kill = "KILL",
        /// Sendmail.
        Showq = "SHOWQ",
        // POP3
        /// RFC 1939.
        User = "USER",
        /// RFC 1939.
        Pass = "PASS",
        /// RFC 1939.
        Apop = "APOP",
        /// RFC 1939.
        Stat = "STAT",
        /// POP3 and IMAP.
        List = "LIST",
        /// RFC 1939.
        Retr = "RETR",
        /// RFC 1939.
        Dele = "DELE",
        /// RFC 1939.
        Top = "TOP",
        /// RFC 1939.
        Uidl = "UIDL",
        /// RFC 1460.
        Last = "LAST",
        /// RFC 2449.
        Capa = "CAPA",
        /// RFC 2595.
        Stls = "STLS",
        /// RFC 6856.
        Utf8 = "UTF8",
        /// RFC 6856.
        Lang = "LANG",
        /// RFC 1082.
        Xtnd = "XTND",
        /// Qpopper.
        Xsender = "XSENDER",
        // IMAP
        /// RFC 9051.
        Capability = "CAPABILITY",
        /// RFC 9051.
        Logout = "LOGOUT",
        /// RFC 9051.
        Authenticate = "AUTHENTICATE",
        /// RFC 9051.
        Login = "LOGIN",
        /// RFC 9051.
        Enable = "ENABLE",
        /// RFC 9051.
        Select = "SELECT",
        /// RFC 9051.
        Examine = "EXAMINE",
        /// RFC 9051.
        Create = "CREATE",
        /// RFC 9051.
        Delete = "DELETE",
        /// RFC 9051.
        Rename = "RENAME",
        /// RFC 9051.
        Subscribe = "SUBSCRIBE",
        /// RFC 9051.
        Unsubscribe = "UNSUBSCRIBE",
        /// RFC 3501.
        Lsub = "LSUB",
        /// Gmail, long ago.
        Xlist = "XLIST",
        /// RFC 9051.
        Namespace = "NAMESPACE",
        /// RFC 9051.
        StatusCmd = "STATUS",
        /// RFC 9051.
        Append = "APPEND",
        /// RFC 8508.
        Replace = "REPLACE",
        /// RFC 8508.
        UidReplace = "UID REPLACE",
        /// RFC 9051.
        Idle = "IDLE",
        /// RFC 3501.
        Check = "CHECK",
        /// RFC 9051.
        Close = "CLOSE",
        /// RFC 9051.
        Unselect = "UNSELECT",
        /// RFC 9051.
        Expunge = "EXPUNGE",
        /// RFC 4315.
        UidExpunge = "UID EXPUNGE",
        /// RFC 9051.
        Search = "SEARCH",
        /// RFC 9051.
        UidSearch = "UID SEARCH",
        /// RFC 9051.
        Fetch = "FETCH",
        /// RFC 9051.
        UidFetch = "UID FETCH",
        /// RFC 9051.
        Store = "STORE",
        /// RFC 9051.
        UidStore = "UID STORE",
        /// RFC 9051.
        Copy = "COPY",
        /// RFC 9051.
        UidCopy = "UID COPY",
        /// RFC 6851.
        Move = "MOVE",
        /// RFC 6851.
        UidMove = "UID MOVE",
        /// RFC 5256.
        Sort = "SORT",
        /// RFC 5256.
        UidSort = "UID SORT",
        /// RFC 5256.
        Thread = "THREAD",
        /// RFC 5256.
        UidThread = "UID THREAD",
        /// RFC 7377.
        Esearch = "ESEARCH",
        /// RFC 5267.
        CancelUpdate = "CANCELUPDATE",
        /// RFC 4978.
        Compress = "COMPRESS",
        /// RFC 8437.
        Unauthenticate = "UNAUTHENTICATE",
        /// RFC 5465.
        Notify = "NOTIFY",
        /// RFC 2971.
        Id = "ID",
        /// RFC 5255.
        Language = "LANGUAGE",
        /// RFC 5255.
        Comparator = "COMPARATOR",
        /// RFC 9208.
        GetQuota = "GETQUOTA",
        /// RFC 9208.
        GetQuotaRoot = "GETQUOTAROOT",
        /// RFC 9208.
        SetQuota = "SETQUOTA",
        /// RFC 4314.
        GetAcl = "GETACL",
        /// RFC 4314.
        SetAcl = "SETACL",
        /// RFC 4314.
        DeleteAcl = "DELETEACL",
        /// RFC 4314.
        ListRights = "LISTRIGHTS",
        /// RFC 4314.
        MyRights = "MYRIGHTS",
        /// RFC 5464.
        GetMetadata = "GETMETADATA",
        /// RFC 5464.
        SetMetadata = "SETMETADATA",
        /// draft-daboo-imap-annotatemore.
        GetAnnotation = "GETANNOTATION",
        /// draft-daboo-imap-annotatemore.
        SetAnnotation = "SETANNOTATION",
        /// RFC 4467.
        GenUrlAuth = "GENURLAUTH",
        /// RFC 4467.
        ResetKey = "RESETKEY",
        /// RFC 4467.
        UrlFetch = "URLFETCH",
        /// RFC 5259.
        Convert = "CONVERT",
        /// RFC 5259.
        UidConvert = "UID CONVERT",
        /// RFC 5259.
        Conversions = "CONVERSIONS",
        /// RFC 2193.
        Rlist = "RLIST",
        /// RFC 2193.
        Rlsub = "RLSUB",
        /// RFC 9698.
        GetJmapAccess = "GETJMAPACCESS",
        /// Apple.
        XApplePush = "XAPPLEPUSHSERVICE",
    }
}

words! {
    /// Type of an IMAP untagged response; what is on no list is `OTHER`.
    Untagged {
        /// On no list.
        Other = "OTHER",
        /// `* OK`.
        Ok = "OK",
        /// `* NO`.
        No = "NO",
        /// `* BAD`.
        Bad = "BAD",
        /// `* BYE`.
        Bye = "BYE",
        /// `* PREAUTH`.
        Preauth = "PREAUTH",
        /// RFC 9051.
        Capability = "CAPABILITY",
        /// RFC 5161.
        Enabled = "ENABLED",
        /// RFC 9051.
        Exists = "EXISTS",
        /// RFC 3501.
        Recent = "RECENT",
        /// RFC 9051.
        Expunge = "EXPUNGE",
        /// RFC 7162.
        Vanished = "VANISHED",
        /// RFC 9051.
        Fetch = "FETCH",
        /// RFC 9586.
        UidFetch = "UIDFETCH",
        /// RFC 9051.
        Flags = "FLAGS",
        /// RFC 9051.
        List = "LIST",
        /// RFC 3501.
        Lsub = "LSUB",
        /// Gmail, long ago.
        Xlist = "XLIST",
        /// RFC 9051.
        Status = "STATUS",
        /// RFC 3501.
        Search = "SEARCH",
        /// RFC 9051.
        Esearch = "ESEARCH",
        /// RFC 5256.
        Sort = "SORT",
        /// RFC 5256.
        Thread = "THREAD",
        /// RFC 9051.
        Namespace = "NAMESPACE",
        /// RFC 2971.
        Id = "ID",
        /// RFC 4314.
        Acl = "ACL",
        /// RFC 4314.
        ListRights = "LISTRIGHTS",
        /// RFC 4314.
        MyRights = "MYRIGHTS",
        /// RFC 9208.
        Quota = "QUOTA",
        /// RFC 9208.
        QuotaRoot = "QUOTAROOT",
        /// RFC 5464.
        Metadata = "METADATA",
        /// draft-daboo-imap-annotatemore.
        Annotation = "ANNOTATION",
        /// RFC 5255.
        Language = "LANGUAGE",
        /// RFC 5255.
        Comparator = "COMPARATOR",
        /// RFC 4467.
        GenUrlAuth = "GENURLAUTH",
        /// RFC 4467.
        UrlFetch = "URLFETCH",
        /// RFC 5259.
        Conversion = "CONVERSION",
        /// RFC 5259.
        Converted = "CONVERTED",
        /// RFC 9698.
        JmapAccess = "JMAPACCESS",
        /// Apple.
        XApplePush = "XAPPLEPUSHSERVICE",
    }
}
