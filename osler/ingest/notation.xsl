<?xml version="1.0"?>
<!-- What jats.xsl, pubmed.xsl and html.xsl share: superscripts, subscripts and MathML. Each leaves marks that notation.py reads:
     U+FDD0 and a letter open what U+FDD1 closes (^ superscript, _ subscript, u that of a formula, ( group, m formula, t TeX, i picture of a formula,
     c citation, n note; tables T rows, U cells, R row, H and D cells). -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:mml="http://www.w3.org/1998/Math/MathML"
                exclude-result-prefixes="mml">
  <xsl:output method="text"/>
  <xsl:param name="tables"/>

  <xsl:template match="sup">&#xFDD0;^<xsl:apply-templates/>&#xFDD1;</xsl:template>
  <xsl:template match="sub">&#xFDD0;_<xsl:apply-templates/>&#xFDD1;</xsl:template>

  <xsl:template name="table">
    <xsl:value-of select="concat('&#x2029;&#xFDD0;', translate(substring($tables, 1, 1), 'rc', 'TU'))"/>
    <xsl:for-each select=".//tr | .//*[local-name() = 'row']">
      <xsl:text>&#xFDD0;R</xsl:text>
      <xsl:for-each select="td | th | *[local-name() = 'entry']">
        <xsl:value-of select="concat('&#xFDD0;', substring('DH', 1 + boolean(self::th or ancestor::*[local-name() = 'thead']), 1))"/>
        <xsl:value-of select="concat(@colspan, ',', @rowspan, ';')"/>
        <xsl:apply-templates/>
        <xsl:text>&#xFDD1;</xsl:text>
      </xsl:for-each>
      <xsl:text>&#xFDD1;</xsl:text>
    </xsl:for-each>
    <xsl:text>&#xFDD1;&#x2029;</xsl:text>
  </xsl:template>

  <xsl:template match="mml:math | math">
    <xsl:variable name="tex" select="(.//*[local-name() = 'annotation'][contains(@encoding, 'tex') or contains(@encoding, 'TeX')] | @alttext)[1]"/>
    <xsl:choose>
      <xsl:when test=".//*[local-name() = 'mi' or local-name() = 'mn' or local-name() = 'mo' or local-name() = 'mtext'][normalize-space()]">
        <xsl:text>&#xFDD0;m</xsl:text><xsl:apply-templates select="*" mode="math"/><xsl:text>&#xFDD1;</xsl:text>
      </xsl:when>
      <xsl:when test="normalize-space($tex)">&#xFDD0;t<xsl:value-of select="$tex"/>&#xFDD1;</xsl:when>
      <xsl:otherwise>&#xFDD0;i&#xFDD1;</xsl:otherwise>
    </xsl:choose>
  </xsl:template>

  <xsl:template match="*" mode="math"><xsl:apply-templates select="*" mode="math"/></xsl:template>
  <xsl:template match="mml:semantics | semantics | mml:maction | maction" mode="math"><xsl:apply-templates select="*[1]" mode="math"/></xsl:template>
  <xsl:template match="mml:annotation | annotation | mml:annotation-xml | annotation-xml | mml:mphantom | mphantom" mode="math"/>
  <xsl:template match="mml:mtext | mtext | mml:ms | ms" mode="math"><xsl:value-of select="."/></xsl:template>
  <xsl:template match="mml:mspace | mspace" mode="math"><xsl:text> </xsl:text></xsl:template>
  <xsl:template match="mml:mo | mo" mode="math">
    <xsl:value-of select="translate(normalize-space(), '&#x2061;&#x2062;&#x2063;&#x2064;', '  , ')"/>
  </xsl:template>
  <xsl:template match="mml:mi | mi | mml:mn | mn" mode="math">
    <xsl:variable name="before" select="preceding-sibling::*[1]"/>
    <xsl:if test="($before[local-name() = 'mi' or local-name() = 'mn']) and (string-length(normalize-space()) &gt; 1 or string-length(normalize-space($before)) &gt; 1)"><xsl:text> </xsl:text></xsl:if>
    <xsl:value-of select="normalize-space()"/>
  </xsl:template>

  <xsl:template name="group"><xsl:param name="of"/>&#xFDD0;(<xsl:apply-templates select="$of" mode="math"/>&#xFDD1;</xsl:template>
  <xsl:template name="below"><xsl:param name="of"/>&#xFDD0;u<xsl:apply-templates select="$of" mode="math"/>&#xFDD1;</xsl:template>
  <xsl:template name="above"><xsl:param name="of"/>&#xFDD0;^<xsl:apply-templates select="$of" mode="math"/>&#xFDD1;</xsl:template>

  <xsl:template match="mml:msup | msup" mode="math">
    <xsl:call-template name="group"><xsl:with-param name="of" select="*[1]"/></xsl:call-template>
    <xsl:call-template name="above"><xsl:with-param name="of" select="*[2]"/></xsl:call-template>
  </xsl:template>
  <xsl:template match="mml:msub | msub | mml:msubsup | msubsup" mode="math">
    <xsl:call-template name="group"><xsl:with-param name="of" select="*[1]"/></xsl:call-template>
    <xsl:call-template name="below"><xsl:with-param name="of" select="*[2]"/></xsl:call-template>
    <xsl:if test="*[3]"><xsl:call-template name="above"><xsl:with-param name="of" select="*[3]"/></xsl:call-template></xsl:if>
  </xsl:template>
  <xsl:template match="mml:munder | munder | mml:munderover | munderover" mode="math">
    <xsl:call-template name="group"><xsl:with-param name="of" select="*[1]"/></xsl:call-template>
    <xsl:text>_</xsl:text><xsl:call-template name="group"><xsl:with-param name="of" select="*[2]"/></xsl:call-template>
    <xsl:if test="*[3]"><xsl:text>^</xsl:text><xsl:call-template name="group"><xsl:with-param name="of" select="*[3]"/></xsl:call-template></xsl:if>
    <xsl:text> </xsl:text>
  </xsl:template>
  <xsl:template match="mml:mover | mover" mode="math">
    <xsl:variable name="accents" select="'&#xAF;&#x203E;&#x2D9;.^&#x2C6;~&#x2DC;&#xA8;&#x2192;'"/>
    <xsl:variable name="accent" select="normalize-space(*[2])"/>
    <xsl:choose>
      <xsl:when test="string-length($accent) = 1 and contains(concat($accents, '-&#x2212;&#x2013;_'), $accent) and string-length(normalize-space(*[1])) = 1">
        <xsl:value-of select="concat(normalize-space(*[1]), translate($accent, concat($accents, '-&#x2212;&#x2013;_'), '&#x304;&#x304;&#x307;&#x307;&#x302;&#x302;&#x303;&#x303;&#x308;&#x20D7;&#x304;&#x304;&#x304;&#x304;'))"/>
      </xsl:when>
      <xsl:otherwise>
        <xsl:call-template name="group"><xsl:with-param name="of" select="*[1]"/></xsl:call-template>
        <xsl:call-template name="above"><xsl:with-param name="of" select="*[2]"/></xsl:call-template>
      </xsl:otherwise>
    </xsl:choose>
  </xsl:template>
  <xsl:template match="mml:mfrac | mfrac" mode="math">
    <xsl:call-template name="group"><xsl:with-param name="of" select="*[1]"/></xsl:call-template>
    <xsl:text>/</xsl:text>
    <xsl:call-template name="group"><xsl:with-param name="of" select="*[2]"/></xsl:call-template>
  </xsl:template>
  <xsl:template match="mml:msqrt | msqrt" mode="math">
    <xsl:text>&#x221A;</xsl:text><xsl:call-template name="group"><xsl:with-param name="of" select="*"/></xsl:call-template>
  </xsl:template>
  <xsl:template match="mml:mroot | mroot" mode="math">
    <xsl:call-template name="group"><xsl:with-param name="of" select="*[1]"/></xsl:call-template>
    <xsl:text>&#xFDD0;^1/</xsl:text><xsl:apply-templates select="*[2]" mode="math"/><xsl:text>&#xFDD1;</xsl:text>
  </xsl:template>
  <xsl:template match="mml:mmultiscripts | mmultiscripts" mode="math">
    <xsl:variable name="prescripts" select="*[local-name() = 'mprescripts']/following-sibling::*"/>
    <xsl:for-each select="$prescripts[position() mod 2 = 0]"><xsl:apply-templates select="." mode="math"/></xsl:for-each>
    <xsl:call-template name="group"><xsl:with-param name="of" select="*[1]"/></xsl:call-template>
    <xsl:for-each select="*[position() &gt; 1][local-name() != 'mprescripts'][not(preceding-sibling::*[local-name() = 'mprescripts'])]">
      <xsl:choose>
        <xsl:when test="position() mod 2"><xsl:call-template name="below"><xsl:with-param name="of" select="."/></xsl:call-template></xsl:when>
        <xsl:otherwise><xsl:call-template name="above"><xsl:with-param name="of" select="."/></xsl:call-template></xsl:otherwise>
      </xsl:choose>
    </xsl:for-each>
  </xsl:template>
  <xsl:template match="mml:mfenced | mfenced" mode="math">
    <xsl:variable name="separator" select="normalize-space(@separators)"/>
    <xsl:value-of select="concat(@open, substring('(', 1 + boolean(@open)))"/>
    <xsl:for-each select="*">
      <xsl:if test="position() &gt; 1"><xsl:value-of select="concat(substring($separator, 1, 1), substring(',', 1 + boolean(../@separators)))"/></xsl:if>
      <xsl:apply-templates select="." mode="math"/>
    </xsl:for-each>
    <xsl:value-of select="concat(@close, substring(')', 1 + boolean(@close)))"/>
  </xsl:template>
  <xsl:template match="mml:mtr | mtr | mml:mlabeledtr | mlabeledtr" mode="math">
    <xsl:apply-templates select="*" mode="math"/><xsl:if test="following-sibling::*"><xsl:text>; </xsl:text></xsl:if>
  </xsl:template>
  <xsl:template match="mml:mtd | mtd" mode="math">
    <xsl:apply-templates select="*" mode="math"/><xsl:if test="following-sibling::*"><xsl:text> </xsl:text></xsl:if>
  </xsl:template>
</xsl:stylesheet>
